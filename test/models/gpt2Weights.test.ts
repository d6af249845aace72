import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { save } from '../../src/checkpoints/save.ts'
import { openDevice } from '../../src/devices/open.ts'
import { weightErrors } from '../../src/evaluate/weightError.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { QWeightModule } from '../../src/nn/qmodule.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import type { Tensor } from '../../src/tensor/tensor.ts'
import { golden } from '../golden.ts'

/*
 * Conv1D's float weight is [in, out]; its codes are [out, in], as those of every layer.
 */

const device = openDevice('cpu', { threads: 2 })
after(async () => {
  assert.equal(device.allocatedBytes, 0)
  await device.close()
})
const place = join(golden, 'shakespeare-gpt2-1M/float')
const layers = ['attn.c_attn', 'attn.c_proj', 'mlp.c_fc', 'mlp.c_proj']

/** ‖W − Ŵ‖₂ / ‖W‖₂ of W [in, out] and Ŵ [out, in]. */
function errorByHand(float: ArrayLike<number>, rows: ArrayLike<number>, [outs, ins]: readonly number[]) {
  let [error, norm] = [0, 0]
  for (let i = 0; i < ins; i++)
    for (let o = 0; o < outs; o++) {
      error += (float[i * outs + o] - rows[o * ins + i]) ** 2
      norm += float[i * outs + o] ** 2
    }
  return Math.sqrt(error / norm)
}

test('weightErrors of a GPT-2 are those of its dequantized weights, square layers included', async () => {
  using model = await loadCausalLM(place, { device })
  quantize(model, { weights: 'int4', exclude: 'lm_head' })
  const twins = [...model.namedModules()].flatMap(([path, module]) =>
    module instanceof QWeightModule ? [[path, module] as const] : [],
  )
  assert.ok(layers.every((name) => twins.some(([path]) => path.endsWith(name))))
  const floats = new Map<string, ArrayLike<number>>()
  for (const [path, { weight }] of twins) floats.set(path, await (weight as Tensor).toNumbers())
  const errors = await weightErrors(model)
  assert.deepEqual(
    [...errors.keys()],
    twins.map(([path]) => path),
  )
  freeze(model)
  for (const [path, { weight }] of twins) {
    using rows = weight.dequantize()
    const wanted = errorByHand(floats.get(path) ?? [], await rows.toNumbers(), rows.shape)
    const received = errors.get(path) ?? Number.NaN
    assert.ok(wanted > 0.03 && wanted < 0.2, `${path}: ${wanted}`)
    assert.ok(Math.abs(received - wanted) < 1e-5 * wanted, `${path}: ${received} must be ${wanted}`)
  }
})

test('a GPT-2 that is saved before it is frozen is loaded again', async () => {
  using model = await loadCausalLM(place, { device })
  quantize(model, { weights: 'int4', exclude: 'lm_head' })
  const files = new Map<string, Uint8Array>()
  await save(model, memoryFolder(files), { unfrozen: true, onWarning: () => {} })
  using again = await loadCausalLM(memoryFolder(files), { device })
  const held = new Map(again.namedTensors())
  for (const [path, tensor] of model.namedTensors()) {
    const other = held.get(path)
    assert.deepEqual(other?.shape, tensor.shape, path)
    assert.deepEqual(await (other as Tensor).read(), await (tensor as Tensor).read(), path)
  }
  using logits = model.forward([1, 2, 3])
  using same = again.forward([1, 2, 3])
  assert.deepEqual(await same.read(), await logits.read())
})

test('a GPT-2 whose blocks are made floats is quantized while loading as after it', async () => {
  const blocks = join(golden, 'families/gpt2.gguf')
  const quantization = { method: 'quanto', weights: 'int8', exclude: 'lm_head' } as const
  using model = await loadCausalLM(blocks, { device, quantization })
  using whole = await loadCausalLM(blocks, { device, dequantize: true })
  quantize(whole, { weights: 'int8', exclude: 'lm_head' })
  freeze(whole)
  using logits = whole.forward([1, 2, 3])
  using same = model.forward([1, 2, 3])
  assert.deepEqual(await same.read(), await logits.read())
})
