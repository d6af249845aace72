import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { type LoadOptions, loadCausalLM } from '../../src/models/load.ts'
import { golden } from '../golden.ts'

/*
 * A model is refused before a weight is read where what the device will hold of it does not fit: the codes
 * that it is quantized to while loading, not the floats of its file.
 */

const device = openDevice('cpu', { threads: 2 })
after(async () => {
  assert.equal(device.allocatedBytes, 0)
  await device.close()
})
let room = 0
Object.defineProperty(device, 'availableBytes', { get: () => room })

const stories = 'lowbit/models/stories260K'
const quanto = join(golden, 'stories260K/quanto-qint4-nolmhead')
// Five layers' weights, the rows that have a scale and a shift, and what stays float: the embedding, which is
// the head's, too, and the norms.
const weights = 5 * (64 * (64 + 32 + 32 + 64) + 3 * 64 * 172)
const rows = 5 * (64 + 32 + 32 + 64 + 172 + 172 + 64)
const others = 512 * 64 + 11 * 64
const int4 = { method: 'quanto', weights: 'int4', exclude: 'lm_head' } as const

const cases: [name: string, place: string, bytes: number, options: LoadOptions][] = [
  ['floats as saved', stories, 4 * (weights + others), {}],
  // The embedding, of float32, passes.
  ['floats in bfloat16', stories, 2 * (weights + others) + 4 * 512 * 64, { dtype: 'bfloat16' }],
  // The largest float of which codes are made passes: 172 × 64.
  ['int4 while loading', stories, weights / 2 + 8 * rows + 4 * others + 4 * 172 * 64, { quantization: int4 }],
  [
    'int4 of bfloat16',
    stories,
    weights / 2 + 4 * rows + 2 * others + 4 * 512 * 64,
    { quantization: int4, dtype: 'bfloat16' },
  ],
  ['int4 as saved', quanto, weights / 2 + 8 * rows + 4 * others, {}],
  ['floats of int4', quanto, 4 * (weights + others) + 4 * 172 * 64, { dequantize: true }],
]

for (const [name, place, bytes, options] of cases) {
  test(`${name}: room for ${bytes} bytes is enough, and one less is not`, async () => {
    room = bytes
    const model = await loadCausalLM(place, { device, ...options })
    model.dispose()
    room = bytes - 1
    await assert.rejects(loadCausalLM(place, { device, ...options }), {
      name: 'DeviceError',
      message: /the weights need \d+ MB; there are \d+ MB/,
    })
  })
}
