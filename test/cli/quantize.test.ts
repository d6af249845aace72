import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { save, writtenSchemes } from '../../src/checkpoints/save.ts'
import { openDevice } from '../../src/devices/open.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import type { Tensor } from '../../src/tensor/tensor.ts'
import { close, golden, json, lowbit, printed, stories, temporaryFolder, text } from './lowbit.ts'

/*
 * `lowbit quantize` with its options. What is computed with the folders it writes stands in commands.test.ts.
 */

const root = temporaryFolder()

test('quantize makes floats of what is quantized already: a GPTQ folder', async () => {
  const [out, float] = [join(root, 'from-gptq'), join(root, 'gptq-float')]
  const gptq = join(golden, 'gptq-w4-g32-sym')
  const { format, modules } = await json('quantize', gptq, '--weights', 'int8', '--out', out)
  assert.equal(format, 'quanto')
  assert.ok(
    modules.every(({ weights, error }: { weights: string; error: number }) => {
      return weights === 'qint8' && error > 0 && error < 0.02
    }),
  )
  const device = openDevice('cpu')
  after(() => device.close())
  using model = await loadCausalLM(gptq, { device, dequantize: true })
  await save(model, float)
  const again = join(root, 'from-float')
  await json('quantize', float, '--weights', 'int8', '--out', again)
  const weights = (folder: string) => readFileSync(join(folder, 'model.safetensors'))
  assert.deepEqual(weights(out), weights(again))
})

test('quantize --format: the choices are the schemes that are written, and nf4 goes where it fits', async () => {
  const { stdout } = await lowbit('quantize', '--help')
  const choices = /--format .*? \(choices: ([^)]*)\)/.exec(stdout.replace(/\s+/g, ' '))?.[1]
  assert.deepEqual(
    choices
      ?.split(', ')
      .map((name) => JSON.parse(name))
      .sort(),
    ['auto', ...writtenSchemes()].sort(),
  )
  const args = ['--weights', 'nf4', '--format', 'bitsandbytes', '--out', join(root, 'nf4')]
  assert.equal((await json('quantize', stories, ...args)).format, 'bitsandbytes')
})

test('quantize and inspect say the errors of a GPT-2, whose floats lie the other way round than codes', async () => {
  const out = join(root, 'gpt2')
  const float = join(golden, '../shakespeare-gpt2-1M/float')
  const args = ['--weights', 'int4', '--exclude', 'lm_head', '--out', out, '--json']
  const { stdout, stderr } = await printed('quantize', float, ...args)
  assert.match(stderr, /optimum-quanto cannot load transformer\.h\.0\.attn\.c_attn/)
  const { modules } = JSON.parse(stdout)
  const { tensors } = await json('inspect', out, '--baseline', float)
  const device = openDevice('cpu')
  after(() => device.close())
  using floats = await loadCausalLM(float, { device })
  using coded = await loadCausalLM(out, { device, dequantize: true })
  assert.equal(modules.length, 16)
  for (const { name, error } of modules) {
    const path = `${name}.weight`
    const [w, q] = await Promise.all(
      [floats, coded].map((model) => (model.getParameter(path) as Tensor).toNumbers()),
    )
    let [distance, norm] = [0, 0]
    for (let i = 0; i < w.length; i++) {
      distance += (w[i] - q[i]) ** 2
      norm += w[i] ** 2
    }
    const wanted = Math.sqrt(distance / norm)
    assert.ok(wanted > 0.03 && wanted < 0.2, `${name}: ${wanted}`)
    close(error, wanted, 1e-6)
    const inspected = tensors.find((tensor: { name: string }) => tensor.name === path)
    close(inspected.error, wanted, 1e-6)
  }
})

test('quantize prints a table and replaces a folder only when told to', async () => {
  const out = join(root, 'printed')
  const chosen = ['--include', '*.mlp.*', '--exclude', '*.2.*', '--exclude', '*down*']
  const { stdout, stderr } = await printed('quantize', stories, '--weights', 'int8', ...chosen, '--out', out)
  assert.equal(stderr, '')
  assert.equal(stdout.match(/^model\.layers\.\d\.mlp\.(gate|up)_proj +qint8 +row +0\.0\d+$/gm)?.length, 8)
  assert.match(stdout, /\nweights 1\.04 MB → \d+ kB, \d+\.\d\d bits per weight; wrote \d+ kB to .*printed\n$/)
  assert.equal((await lowbit('quantize', stories, '--weights', 'int8', '--out', out)).code, 1)
  assert.equal((await lowbit('quantize', stories, '--weights', 'int8', '--out', out, '--overwrite')).code, 0)
  assert.equal(
    (await json('inspect', out)).tensors.filter(({ kind }: { kind: string }) => kind === 'qint8').length,
    36,
  )
})

test("quantize --activations chooses scales on a text; what it writes evaluates as quanto's does", async () => {
  const out = join(root, 'a8')
  const args = ['--weights', 'int8', '--activations', 'int8']
  const quantized = await json('quantize', stories, ...args, '--calibration', text, '--out', out)
  assert.ok(quantized.modules.every(({ activations }: { activations: string }) => activations === 'qint8'))
  const { perplexity } = await json('evaluate', out, '--text', text, '--context', '128')
  // Other text and other momentum than quanto's calibration, which gave 5.9264; the float model has 5.9024.
  assert.ok(perplexity > 5.9 && perplexity < 5.96, `perplexity ${perplexity}`)
  const { code, stderr } = await lowbit('quantize', stories, ...args, '--out', join(root, 'none'))
  assert.equal(code, 1)
  assert.match(stderr, /--activations TYPE and --calibration FILE go together/)
})
