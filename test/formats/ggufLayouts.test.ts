import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import type { Device } from '../../src/devices/device.ts'
import { openDevice } from '../../src/devices/open.ts'
import { ggufTypes } from '../../src/formats/ggufBlocks.ts'
import {
  type BlockField,
  blockLayout,
  blockLayouts,
  fieldNumbers,
  type GgufBlockType,
} from '../../src/formats/ggufLayouts.ts'
import { gguf } from '../../src/formats/schemes/gguf.ts'
import type { PartReader } from '../../src/formats/schemes/scheme.ts'
import type { TensorFile } from '../../src/formats/tensorFile.ts'
import { packBlocks } from '../../src/kernels/layout/packBlocks/packBlocks.ts'
import { fieldLength } from '../../src/kernels/layout/unpackBlocks/unpackBlocks.ts'
import { lookup } from '../../src/qtensor/lookup.ts'
import type { QTensor } from '../../src/qtensor/qtensor.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'
import { golden, readGolden, widestGolden } from '../golden.ts'

/* GGUF's block types beside ggml: what the bytes that it wrote stand for, and those bytes again. */

const types = Object.keys(blockLayouts) as GgufBlockType[]

/** The weight that blocks hold, read as from a file. */
async function readWeight(
  device: Device,
  type: GgufBlockType,
  bytes: Uint8Array,
  shape: number[],
): Promise<QTensor> {
  const info = { name: 'x.weight', dtype: type, shape, byteLength: bytes.length, byteOffset: 0 }
  const file = { name: 'a.gguf', tensors: new Map([['x.weight', info]]), unknown: new Map() }
  const scheme = await gguf.detect(null, file as unknown as TensorFile, false)
  const rowBytes = bytes.length / shape[0]
  const parts: Partial<PartReader> = {
    device,
    rows: async (_, start, end) => Tensor.fromArray(device, bytes.slice(start * rowBytes, end * rowBytes)),
    error: (_, problem, byteOffset) => new Error(`x.weight ${problem} (byte ${byteOffset})`),
  }
  const weight = scheme?.layer('x', shape, undefined as never)?.weight
  assert.ok(weight)
  return weight.read(parts as PartReader)
}

/** The bytes of blocks again, by the same layout. */
async function blocksOf(weight: QTensor, type: GgufBlockType): Promise<Uint8Array> {
  const { bytes, values } = ggufTypes[type]
  const layout = blockLayout(type)
  const count = weight.numel / values
  const blocks = new Uint8Array(count * bytes)
  const put = async (tensor: Tensor, fields: readonly BlockField[], sign = 0) => {
    const each = tensor.byteLength / count
    const raw = (await tensor.readBytes()).map((byte, i) => (i % 2 === 1 ? byte ^ sign : byte))
    const numbers = fieldNumbers(fields, each)
    packBlocks(raw, numbers, numbers.length / fieldLength, blocks, count, bytes, each)
    tensor.dispose()
  }
  const { codes, scale, offset } = weight.parts()
  await put(codes, layout.codes)
  for (const [held, drawn] of [
    [scale, layout.scale],
    [offset, layout.shift],
  ] as const) {
    if (!held || !drawn || 'value' in held) continue
    if ('codes' in held) await put(held.codes, drawn.fields)
    const fields = drawn.nested ? [{ at: drawn.nested.at, bits: 8, span: 2 }] : drawn.fields
    await put(held.values, fields, drawn.negative ? 0x80 : 0)
  }
  return blocks
}

/** What is computed, as numbers. */
async function numbersOf(compute: () => Tensor): Promise<ArrayLike<number>> {
  const tensor = scope(compute)
  const numbers = await tensor.toNumbers()
  tensor.dispose()
  return numbers
}

/** The same floats, NaN included and the signs of zeros aside, as ggml gives a zero the sign of its code. */
function sameFloats(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  assert.equal(actual.length, expected.length)
  const wrong = Array.from(expected).findIndex((value, i) => !(actual[i] === value))
  assert.equal(wrong, -1, `value ${wrong} is ${actual[wrong]}, not ${expected[wrong]}`)
}

const file = join(widestGolden, 'single_tensor_ggml/ggml.safetensors')
const wide = widestGolden !== golden
const tensors = await readGolden(wide ? file : join(golden, 'single_tensor/ggml.safetensors'))
const items = [...tensors.keys()]
  .filter((name) => name.endsWith('.dequant'))
  .map((name) => name.slice(0, -'.dequant'.length))
  .filter((item) => types.includes(item.split('.')[0] as GgufBlockType))

for (const name of deviceNames) {
  describe(`GGUF's blocks on ${name}`, () => {
    const device = openDevice(name, { threads: 2 })
    after(async () => {
      assert.equal(device.allocatedBytes, 0, 'disposed weights hold nothing')
      await device.close()
    })

    for (const item of items) {
      test(`${item}: the floats that ggml decodes, and its bytes again`, async () => {
        const type = item.split('.')[0] as GgufBlockType
        const { bytes } = tensors.get(`${item}.bytes`) ?? {}
        const { values: expected, shape } = tensors.get(`${item}.dequant`) ?? {}
        assert.ok(bytes && expected && shape)
        using weight = await readWeight(device, type, bytes, [...shape])
        sameFloats(await numbersOf(() => weight.dequantize()), expected)
        const ids = Int32Array.from({ length: shape[0] }, (_, i) => i)
        sameFloats(await numbersOf(() => lookup(weight, Tensor.fromArray(device, ids))), expected)
        // As many bits as in the file.
        if (type !== 'TQ1_0') assert.equal(weight.byteLength, bytes.length)
        if (blockLayout(type).codes[0].bits > 0)
          assert.deepEqual(
            Buffer.from(await blocksOf(weight, type)).toString('hex'),
            Buffer.from(bytes).toString('hex'),
          )
      })
    }

    const ggml: { rows: number; cols: number; types: Record<string, { bytes: string; float32: string }> } =
      JSON.parse(readFileSync(join(golden, 'gguf/blocks.json'), 'utf8'))
    for (const [type, { bytes, float32 }] of Object.entries(ggml.types)) {
      test(`${type} of random blocks: the floats that ggml decodes`, async () => {
        const blocks = Uint8Array.from(Buffer.from(bytes, 'hex'))
        using weight = await readWeight(device, type as GgufBlockType, blocks, [ggml.rows, ggml.cols])
        const expected = new Float32Array(Uint8Array.from(Buffer.from(float32, 'hex')).buffer)
        sameFloats(await numbersOf(() => weight.dequantize()), expected)
      })
    }

    test('many rows, in several pieces', async () => {
      // One block of Q4_K over and over, its last code and its scale's last bit the number of the row.
      const block = tensors.get('Q4_K.bytes')?.bytes.slice(0, 144) as Uint8Array
      const [N, K] = [2100, 1024]
      const bytes = new Uint8Array((N * K * 144) / 256)
      for (let at = 0; at < bytes.length; at += 144) {
        bytes.set(block, at)
        bytes[at + 143] = Math.floor(at / (144 * 4))
      }
      using weight = await readWeight(device, 'Q4_K', bytes, [N, K])
      const codes = weight.codes()
      const last = (await codes.readBytes()).filter((_, i) => i % 256 === 255)
      codes.dispose()
      assert.deepEqual(
        [...last],
        Array.from({ length: 4 * N }, (_, i) => (Math.floor(i / 4) % 256) >> 4),
      )
      assert.deepEqual(Buffer.compare(await blocksOf(weight, 'Q4_K'), bytes), 0)
    })

    test('a scale that is not a number is told with its block', async () => {
      const bytes = Uint8Array.from({ length: 3 * 144 }, () => 0)
      bytes.set([0, 0x7c], 144 + 2)
      await assert.rejects(
        readWeight(device, 'Q4_K', bytes, [3, 256]),
        /x.weight must hold finite numbers; the scale of block 1, in the order of rows, is NaN or infinite \(byte 144\)/,
      )
      // The first block of the second piece: 2^19 codes are unpacked at a time.
      const long = new Uint8Array(2064 * 144)
      long.set([0, 0x7c], 2048 * 144)
      await assert.rejects(readWeight(device, 'Q4_K', long, [2064, 256]), /the scale of block 2048,/)
      await assert.rejects(readWeight(device, 'MXFP4', new Uint8Array(17).fill(255), [1, 32]), /block 0/)
    })
  })
}

test('Q4_0: codes by hand', async () => {
  // d = −0.59375, codes 13 13 12 12 11 …: the first values are d · (13 − 8), d · (13 − 8), d · (12 − 8).
  const blocks = Uint8Array.from(Buffer.from('c0b86d6d5c5c5b4b4b3a3a39292818180707', 'hex'))
  const device = openDevice('wasm', { threads: 1 })
  const weight = await readWeight(device, 'Q4_0', blocks, [1, 32])
  const values = await numbersOf(() => weight.dequantize())
  assert.deepEqual(
    Array.from(values).slice(0, 5),
    [13, 13, 12, 12, 11].map((code) => -0.59375 * (code - 8)),
  )
  weight.dispose()
  await device.close()
})

test('types whose levels are tables of llama.cpp are refused in one sentence', async () => {
  const file = new Map([
    [
      'x.weight',
      { name: 'blk.0.attn_q.weight', dtype: 'IQ2_XS', shape: [1, 256], byteLength: 74, byteOffset: 64 },
    ],
  ])
  assert.throws(() => gguf.detect(null, { name: 'a.gguf', tensors: file } as unknown as TensorFile, false), {
    message:
      "a.gguf: blk.0.attn_q.weight is IQ2_XS, whose values are entries of a table of llama.cpp's, which lowbit does not have: take a file of the model with Q2_K, Q3_K or another type, or make one with llama-quantize",
  })
})
