import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { openGguf } from '../../src/formats/gguf.ts'
import { bytesSource, memoryFolder } from '../../src/formats/source.ts'
import { type ConvertOptions, convert } from '../../src/models/convert.ts'
import { loadCausalLM, type ModelPlace } from '../../src/models/load.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { keep, scope } from '../../src/tensor/scope.ts'
import { deviceNames } from '../deviceNames.ts'
import { golden } from '../golden.ts'

/* Models become GGUF files: of llama.cpp's types and mixtures, or with the codes that they have. */

const device = openDevice(deviceNames[0], { threads: 2 })
after(async () => {
  assert.equal(device.allocatedBytes, 0)
  await device.close()
})

const gpt2 = join(golden, 'shakespeare-gpt2-1M/float')
const stories = 'lowbit/models/stories260K'

async function converted(source: ModelPlace, options: ConvertOptions) {
  const files = new Map<string, Uint8Array<ArrayBuffer>>()
  const { tensors } = await convert(source, memoryFolder(files), { device, onWarning: () => {}, ...options })
  const [bytes, ...others] = files.values()
  assert.equal(others.length, 0)
  return { tensors, bytes }
}

async function typesOf(bytes: Uint8Array): Promise<Map<string, string>> {
  const file = await openGguf(bytesSource(bytes, 'written'))
  return new Map([...file.tensors].map(([name, { dtype }]) => [name, dtype]))
}

test('GPTQ with one zero point keeps its codes and scales as Q4_0', async () => {
  const id = 'stories260K/gptq-w4-g32-sym'
  const source = diskFolder(join(golden, id))
  const { tensors, bytes } = await converted(source, { to: 'gguf:q4_0' })
  using before = await loadCausalLM(source, { device })
  using made = await loadCausalLM(new Blob([bytes]), { device })
  let kept = 0
  for (const { path, exact } of tensors) {
    const [weight, other] = [before.getParameter(path), made.getParameter(path)]
    // Of 172 columns, which are no whole blocks, the floats stay.
    if (!(weight instanceof QTensor && other instanceof QTensor)) continue
    kept++
    assert.ok(exact, path)
    using theirs = weight.scale('float32')
    using ours = other.scale('float32')
    assert.deepEqual(await ours.toNumbers(), await theirs.toNumbers(), path)
    const codes = async (of: QTensor) => {
      using values = scope(() => keep(of.parts().codes))
      return values.toNumbers()
    }
    assert.deepEqual(await codes(other), await codes(weight), path)
  }
  assert.ok(kept >= 25, `${kept} weights were kept`)
})

test('a mixture has more bits where llama.cpp has them', async () => {
  const { bytes } = await converted(gpt2, { to: 'gguf:q4_k_m' })
  const types = await typesOf(bytes)
  const expected: Record<string, string> = {
    // Rows of 128 values are no blocks of 256; the head is tied.
    'token_embd.weight': 'Q8_0',
    'position_embd.weight': 'float32',
    'blk.0.attn_qkv.weight': 'Q5_0',
    'blk.2.attn_qkv.weight': 'Q8_0',
    'blk.0.attn_output.weight': 'Q5_0',
    'blk.0.ffn_down.weight': 'Q4_K',
    'blk.1.ffn_down.weight': 'Q4_K',
    'blk.2.ffn_down.weight': 'Q6_K',
    'blk.3.ffn_down.weight': 'Q6_K',
    'blk.3.ffn_down.bias': 'float32',
  }
  for (const [name, type] of Object.entries(expected)) assert.equal(types.get(name), type, name)
})

test('columns that are no whole blocks stay floats', async () => {
  const { tensors, bytes } = await converted(stories, { to: 'gguf:q4_0' })
  const types = await typesOf(bytes)
  assert.equal(types.get('blk.0.ffn_down.weight'), 'float32')
  assert.equal(types.get('blk.0.ffn_up.weight'), 'Q4_0')
  const reason = tensors.find(({ path }) => path.endsWith('layers.0.mlp.down_proj.weight'))?.reason
  assert.equal(reason, 'its 172 columns are no whole blocks of 32')
})

test('floats: matrices are rounded, vectors are not', async () => {
  const { bytes } = await converted(stories, { to: 'gguf:f16' })
  const types = await typesOf(bytes)
  assert.equal(types.get('blk.0.ffn_up.weight'), 'float16')
  assert.equal(types.get('blk.0.ffn_norm.weight'), 'float32')
  using model = await loadCausalLM(stories, { device })
  using made = await loadCausalLM(new Blob([bytes]), { device })
  const norm = 'model.layers.0.input_layernorm.weight'
  const values = async (of: typeof model) => (await of.getParameter(norm).dequantize()).toNumbers()
  assert.deepEqual(await values(made), await values(model))
})

test('a file of a target becomes the same file again', async () => {
  for (const to of ['gguf:q4_k_m', 'gguf:q5_1', 'gguf:q6_k']) {
    const { bytes } = await converted(gpt2, { to })
    const again = await converted(new Blob([bytes]), { to, exactOnly: true })
    const [first, second] = await Promise.all(
      [bytes, again.bytes].map((each) => openGguf(bytesSource(each, to))),
    )
    assert.deepEqual([...second.tensors.keys()].sort(), [...first.tensors.keys()].sort())
    for (const name of first.tensors.keys())
      assert.ok(Buffer.from(await first.read(name)).equals(await second.read(name)), name)
  }
})
