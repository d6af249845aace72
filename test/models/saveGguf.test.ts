import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import {
  convert,
  Embedding,
  freeze,
  imatrix,
  initialize,
  Linear,
  loadCausalLM,
  openDevice,
  quantize,
  quantizeCalibrated,
  save,
} from '../../src/index.ts'
import { ggufCodes } from '../../src/quantize/ggufQuantizers.ts'

/* A quantized model in memory is saved as a GGUF file. */

const device = openDevice('cpu', { threads: 1 })
const root = mkdtempSync(join(tmpdir(), 'lowbit-save-gguf-'))
after(() => {
  device.close()
  rmSync(root, { recursive: true })
})

const stories = 'models/stories260K'
// Its 172 columns are no whole blocks.
const floats = '*down_proj'

test('the file is the one that convert makes, which llama.cpp reads', async () => {
  const [converted, saved] = [join(root, 'converted.gguf'), join(root, 'saved.gguf')]
  await convert(stories, converted, { to: 'gguf:q4_0', device })
  using model = await loadCausalLM(stories, { device })
  const weights = { weights: ggufCodes('Q4_0'), algorithm: 'q4_0', groupSize: 32 } as const
  quantize(model, { ...weights, layers: [Linear, Embedding], exclude: floats })
  freeze(model)
  assert.equal(await save(model, saved, { format: 'gguf' }), readFileSync(saved).byteLength)
  assert.ok(readFileSync(saved).equals(readFileSync(converted)))
})

test('types differ from tensor to tensor, and weights come back', async () => {
  using model = await loadCausalLM(stories, { device })
  const data = [Array.from({ length: 32 }, (_, i) => i + 3)]
  const overrides = { '*q_proj': { type: 'Q8_0' }, '*up_proj': { type: 'IQ4_NL' } } as const
  const exclude = [floats, 'lm_head']
  await quantizeCalibrated(model, { algorithm: imatrix({ type: 'Q4_0' }), data, overrides, exclude })
  const out = join(root, 'mixed.gguf')
  await save(model, out, { format: 'gguf' })
  using again = await loadCausalLM(out, { device })
  const types = new Set<string>()
  for (const [path, weight] of model.namedParameters()) {
    const read = again.getParameter(path)
    if ('qtype' in weight && 'qtype' in read) types.add(`${path.split('.').at(-2)} ${read.qtype.name}`)
    assert.deepEqual(await read.dequantize().toNumbers(), await weight.dequantize().toNumbers(), path)
  }
  assert.ok(types.has('q_proj qint8') && types.has('up_proj iq4_nl') && types.has('k_proj qint4'))
})

test('what is no language model, and what GGUF has no blocks for, is refused', async () => {
  const layer = initialize(new Linear(32, 4), device)
  await assert.rejects(save(layer, join(root, 'x.gguf'), { format: 'gguf' }), {
    name: 'FormatError',
    message: 'save: gguf must be given a language model; received a Linear',
  })
  using model = await loadCausalLM(stories, { device })
  quantize(model, { weights: 'int3', groupSize: 32, exclude: [floats, 'lm_head'] })
  freeze(model)
  await assert.rejects(save(model, join(root, 'x.gguf'), { format: 'gguf' }), {
    name: 'FormatError',
    message: /^save: gguf must be able to hold \S+; its? .*$/,
  })
})
