import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import type { DType } from '../../src/core/dtype.ts'
import { qfloat8, qint4, qint8 } from '../../src/core/qtype.ts'
import { openDevice } from '../../src/devices/open.ts'
import { linear } from '../../src/qtensor/linear.ts'
import { lookup } from '../../src/qtensor/lookup.ts'
import type { Block, WeightParts } from '../../src/qtensor/parts.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'

for (const name of deviceNames) {
  describe(`quantized tensors of parts on ${name}`, () => {
    const device = openDevice(name)
    after(() => device.close())
    const numbers = (values: number[], shape: number[], dtype: DType = 'float32') =>
      Tensor.fromNumbers(device, values, shape, dtype)
    const read = async (tensor: Tensor) => [...(await tensor.toNumbers())]
    const group = (size: number): Block => ({ kind: 'group', size })
    /** Codes 0 … 11 of 4 bits, [2, 6]. */
    const counted = (
      block: Block,
      scale: WeightParts['scale'],
      more: Partial<WeightParts> = {},
    ): WeightParts => ({
      type: qint4,
      shape: [2, 6],
      dtype: 'float32',
      codes: numbers([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [2, 6], 'uint8'),
      block,
      scale,
      ...more,
    })

    /** What stands for the weight, made in three ways: dequantized, multiplied by an identity, looked up. */
    const expectValues = async (parts: WeightParts, expected: number[]) => {
      const [N, K] = [2, 6]
      using weight = QTensor.fromParts(parts)
      assert.deepEqual(await read(scope(() => weight.dequantize())), expected, 'dequantized')
      const identity = numbers(
        Array.from({ length: K * K }, (_, i) => (i % (K + 1) === 0 ? 1 : 0)),
        [K, K],
      )
      const transposed = Array.from({ length: N * K }, (_, i) => expected[(i % N) * K + Math.floor(i / N)])
      assert.deepEqual(await read(linear(identity, weight)), transposed, 'multiplied')
      const ids = Tensor.fromArray(device, Int32Array.of(1, 0))
      const rows = [...expected.slice(K), ...expected.slice(0, K)]
      assert.deepEqual(await read(lookup(weight, ids)), rows, 'looked up')
      using copy = weight.clone()
      assert.deepEqual(await read(copy.dequantize()), expected, 'cloned')
      const held = weight.parts()
      using again = QTensor.fromParts(held)
      assert.deepEqual(await read(again.dequantize()), expected, 'made of its parts again')
      assert.deepEqual(await read(held.codes), await read(parts.codes))
      assert.equal(again.toString(), weight.toString())
    }

    test('groups, the last of a row shorter', async () => {
      const values = numbers([1, 10, 100, 1000], [2, 2])
      const expected = [0, 1, 2, 3, 40, 50, 600, 700, 800, 900, 10000, 11000]
      await expectValues(counted(group(4), { values }), expected)
    })

    test('runs across rows, the last shorter', async () => {
      const values = numbers([1, 10, 100], [3])
      const expected = [0, 1, 2, 3, 4, 50, 60, 70, 80, 90, 1000, 1100]
      await expectValues(counted({ kind: 'run', size: 5 }, { values }), expected)
    })

    test('tiles, cut off at the end', async () => {
      const values = numbers([1, 10], [1, 2])
      const expected = [0, 1, 2, 3, 40, 50, 6, 7, 8, 9, 100, 110]
      await expectValues(counted({ kind: 'tile', rows: 3, columns: 4 }, { values }), expected)
    })

    test('shifts and zero points of each', async () => {
      const values = numbers([1, 10, 100], [3])
      const shift = { kind: 'shift', values: numbers([1, 2, 3], [3]) } as const
      await expectValues(
        counted({ kind: 'run', size: 5 }, { values }, { offset: shift }),
        [-1, 0, 1, 2, 3, 48, 58, 68, 78, 88, 997, 1097],
      )
      const zeroPoint = { kind: 'zeroPoint', values: numbers([8, 3], [1, 2], 'uint8') } as const
      await expectValues(
        counted(
          { kind: 'tile', rows: 2, columns: 4 },
          { values: numbers([1, 10], [1, 2]) },
          { offset: zeroPoint },
        ),
        [-8, -7, -6, -5, 10, 20, -2, -1, 0, 1, 70, 80],
      )
    })

    test('combs: values that lie as far apart as there are scales', async () => {
      const values = numbers([1, 10, 100, 1000], [4])
      const expected = [0, 10, 200, 3000, 4, 50, 600, 7000, 8, 90, 1000, 11000]
      await expectValues(counted({ kind: 'comb', teeth: 3 }, { values }), expected)
      const zero = { kind: 'zero', values: numbers([0.5, 0, 2, 3], [4]) } as const
      const less = [-0.5, 10, 0, 0, 3.5, 50, 400, 4000, 7.5, 90, 800, 8000]
      await expectValues(counted({ kind: 'comb', teeth: 3 }, { values }, { offset: zero }), less)
    })

    test('float zero points: the difference is rounded, then its product', async () => {
      const values = numbers([1, 10, 100, 1000], [2, 2])
      const zero = { kind: 'zero', values: numbers([0.5, 3, 7.5, 9], [2, 2]) } as const
      const expected = [-0.5, 0.5, 1.5, 0, 10, 20, -150, -50, 50, 0, 1000, 2000]
      await expectValues(counted(group(3), { values }, { offset: zero }), expected)
      using half = QTensor.fromParts({
        ...counted(group(6), { values: numbers([3, 3], [2, 1], 'bfloat16') }),
        dtype: 'bfloat16',
        offset: { kind: 'zero', values: numbers([0.3, 0.3], [2, 1], 'bfloat16') },
      })
      // 5 − 0.30078125 is 4.6875 in bfloat16, times 3; in float32 it were 14.09765625.
      assert.equal((await read(half.dequantize()))[5], 14.0625)
    })

    test('float8 scales, and scales quantized once more', async () => {
      // 0.5 and 448 in e4m3fn.
      const bytes = Tensor.fromArray(device, Uint8Array.of(0x30, 0x7e), [2, 1], 'float8_e4m3fn')
      const halves = [0, 0.5, 1, 1.5, 2, 2.5]
      const large = [6, 7, 8, 9, 10, 11].map((code) => 448 * code)
      await expectValues(counted(group(6), { values: bytes }), [...halves, ...large])
      const codebook = numbers(
        Array.from({ length: 256 }, (_, i) => i / 4),
        [256],
      )
      const nested = {
        codes: numbers([4, 8, 200, 1], [2, 2], 'uint8'),
        codebook,
        blockSize: 3,
        values: numbers([2, 16], [2]),
        offset: -1,
      }
      // Scales 1·2 − 1, 2·2 − 1, 50·2 − 1 and ¼·16 − 1.
      const expected = [0, 1, 2, 9, 12, 15, 594, 693, 792, 27, 30, 33]
      await expectValues(counted(group(3), nested), expected)
    })

    test('scales and shifts that are integers times a value: of a row, of all, of some', async () => {
      const halves = numbers([0.5, 2], [2], 'float16')
      const scale = { codes: numbers([35, 33, 32, 0], [2, 2], 'uint8'), bits: 6, zero: 32, blockSize: 2 }
      // Scales (35 − 32) / 2, (33 − 32) / 2, 0 · 2 and −32 · 2.
      await expectValues(
        counted(group(3), { ...scale, values: halves }),
        [0, 1.5, 3, 1.5, 2, 2.5, 0, 0, 0, -576, -640, -704],
      )
      const codes = Tensor.fromArray(device, Int8Array.of(1, -2, 3, -128), [2, 2])
      const shift = { codes: numbers([1, 2, 3, 15], [2, 2], 'uint8'), bits: 4, blockSize: 3 }
      // Scales 3, −6, 9, −384; shifts 1 · 0.5, 2 · 0.5, 3 · 0.5, 15 · 2.
      await expectValues(
        counted(
          group(3),
          { codes, blockSize: 4, values: numbers([3], [1]) },
          { offset: { kind: 'shift', ...shift, values: halves } },
        ),
        [-0.5, 2.5, 5.5, -19, -25, -31, 52.5, 61.5, 70.5, -3486, -3870, -4254],
      )
      // 1.5 and 448 in e4m3fn, of a run of the flattened weight.
      const bytes = Tensor.fromArray(device, Uint8Array.of(0x3c, 0x7e, 0x3c), [3], 'float8_e4m3fn')
      await expectValues(
        counted({ kind: 'run', size: 5 }, { codes: bytes, blockSize: 3, values: numbers([2], [1]) }),
        [0, 3, 6, 9, 12, 4480, 5376, 6272, 7168, 8064, 30, 33],
      )
    })

    test('one zero point for all blocks', async () => {
      const values = numbers([1, 10, 100, 1000], [2, 2])
      const offset = { kind: 'zeroPoint', value: 8 } as const
      const expected = [-8, -7, -6, -50, -40, -30, -200, -100, 0, 1000, 2000, 3000]
      await expectValues(counted(group(3), { values }, { offset }), expected)
      using weight = QTensor.fromParts(counted(group(3), { values }, { offset }))
      assert.deepEqual(await read(weight.zeroPoint() as Tensor), [8, 8, 8, 8])
      assert.deepEqual(weight.parts().offset, offset)
      // 12 codes of 4 bits, four scales of four bytes.
      assert.equal(weight.byteLength, 6 + 16)
      assert.throws(
        () => QTensor.fromParts(counted(group(3), { values }, { offset: { ...offset, value: 16 } })),
        { message: 'qtensor: a zero point must be a code of qint4, 0 to 15; received 16' },
      )
    })

    test('columns in another order', async () => {
      const order = Tensor.fromArray(device, Int32Array.of(5, 0, 3, 1, 4, 2))
      const values = numbers([1, 10, 1, 10], [2, 2])
      // Stored: 0 1 2 30 40 50 and 6 7 8 90 100 110; column 0 of the weight is stored column 1, and so on.
      const expected = [1, 30, 50, 2, 40, 0, 7, 90, 110, 8, 100, 6]
      await expectValues(counted(group(3), { values }, { order }), expected)
    })

    test('a scale of another dtype than the weight is applied in float32', async () => {
      // 3 · 1.0048828125 = 3.0146484375, in bfloat16 3.015625; a scale rounded first gives 3.
      const parts = {
        type: qint8,
        shape: [1, 1],
        dtype: 'bfloat16',
        codes: numbers([3], [1, 1], 'int8'),
        block: group(1),
        scale: { values: numbers([1.0048828125], [1, 1]) },
      } as const
      using weight = QTensor.fromParts(parts)
      using dequantized = weight.dequantize()
      assert.equal(dequantized.dtype, 'bfloat16')
      assert.deepEqual(await read(dequantized), [3.015625])
    })

    test('bits per weight count everything that is held', () => {
      const order = Tensor.fromArray(device, Int32Array.of(5, 0, 3, 1, 4, 2))
      const values = numbers([1, 10, 1, 10], [2, 2], 'float16')
      using weight = QTensor.fromParts(counted(group(3), { values }, { order }))
      // 12 codes of 4 bits, four scales of two bytes, six columns of four.
      assert.equal(weight.byteLength, 6 + 8 + 24)
      assert.match(
        String(weight),
        /^QTensor qint4 \[2,6\], groups of 3, columns reordered, 25.33 bits per weight/,
      )
    })

    test('parts that do not fit one another are refused', () => {
      const values = numbers([1, 1, 1, 1], [2, 2])
      const refused = (parts: WeightParts, message: string | RegExp) =>
        assert.throws(() => QTensor.fromParts(parts), { message })
      refused(counted(group(2), { values }), 'qtensor: scale must be [2,3]; received [2,2]')
      refused(
        counted(group(0), { values }),
        'qtensor: blocks must be groups, tiles or runs of 1 or more columns, or combs that divide the weight; received {"kind":"group","size":0} for [2,6]',
      )
      refused(
        counted(group(3), { values }, { shape: [3, 4] }),
        'qtensor: codes must be [3,4]; received [2,6]',
      )
      refused(
        counted(group(3), { values }, { codes: numbers([1], [1]) }),
        'qtensor: codes must be [2,6]; received [1]',
      )
      refused(
        counted(group(3), { values: numbers([1, 1, 1, 1], [2, 2], 'int32') }),
        /^qtensor: scale must be float32 or .*; received int32$/,
      )
      refused(
        counted({ kind: 'comb', teeth: 5 }, { values }),
        /combs that divide the weight; received \{"kind":"comb","teeth":5\}/,
      )
      const zeroPoint = { kind: 'zeroPoint', values: numbers([1, 1, 1, 1], [2, 2], 'uint8') } as const
      refused(
        counted(group(3), { values }, { type: qfloat8, offset: zeroPoint }),
        'qtensor: zero points belong to integer codes; received qfloat8_e4m3fn',
      )
      refused(
        counted(group(3), { values }, { offset: { kind: 'zeroPoint', values } }),
        'qtensor: zeroPoint must have one byte each; received float32',
      )
      const order = numbers([0, 1, 2], [3], 'int32')
      refused(counted(group(3), { values }, { order }), 'qtensor: order must be [6]; received [3]')
      const nested = {
        codes: numbers([1, 1, 1, 1], [2, 2], 'uint8'),
        codebook: numbers([1, 2], [2]),
        blockSize: 4,
        values: numbers([1], [1]),
        offset: 0,
      }
      refused(counted(group(3), nested), 'qtensor: scale.codebook must be [256]; received [2]')
      const integers = { ...nested, codebook: null }
      refused(
        counted(group(3), { ...integers, bits: 9 }),
        'qtensor: scale.bits must be 8, or of uint8 codes 1 to 8; received 9 of uint8',
      )
      refused(
        counted(group(3), { ...integers, zero: -1 }),
        'qtensor: scale.zero must be 0, or of uint8 codes a code; received -1 of uint8',
      )
    })
  })
}
