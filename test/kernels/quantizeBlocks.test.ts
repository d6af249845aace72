import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { dtypes } from '../../src/core/dtype.ts'
import { encodedTypes, quantizeBlocks } from '../../src/kernels/quantize/quantizeBlocks/quantizeBlocks.ts'
import { type GoldenTensor, golden, readGolden } from '../golden.ts'
import { packBlocks } from './ggmlBlocks.ts'

/*
 * One matrix with rows of every kind (zeros, one value, positive ones, large ones) as ggml_quantize_chunk
 * encodes it: every byte of it.
 */
const tensors = await readGolden(join(golden, 'single_tensor/ggml.safetensors'))
const { shape, values } = tensors.get('W') as GoldenTensor
const [rows, cols] = shape
const W = Float32Array.from(values)
const importance = Float32Array.from(tensors.get('imatrix')?.values as ArrayLike<number>)

for (const [name, encoded] of Object.entries(encodedTypes)) {
  for (const [item, weights] of [
    [name, null],
    [`${name}.imatrix`, importance],
  ] as const) {
    const expected = tensors.get(`${item}.bytes`)
    if (!expected) continue
    test(`${item}: the bytes that ggml writes`, () => {
      const { type, block, group, scaleBytes, shift } = encoded
      const halves = () => new Uint8Array((rows * cols * scaleBytes) / block)
      const grouped = () => (group ? new Uint8Array((rows * cols) / group) : null)
      const parts = {
        codes: new Uint8Array(rows * cols),
        scale: halves(),
        shift: shift ? halves() : null,
        scaleCodes: grouped(),
        shiftCodes: shift ? grouped() : null,
      }
      const { codes, scale, shift: shifts, scaleCodes, shiftCodes } = parts
      const float32 = dtypes.float32.code
      quantizeBlocks(W, float32, weights, type, codes, scale, shifts, scaleCodes, shiftCodes, rows, cols)
      const bytes = packBlocks(name, parts, (rows * cols) / block)
      assert.deepEqual(Buffer.from(bytes).toString('hex'), Buffer.from(expected.bytes).toString('hex'))
    })
  }
}
