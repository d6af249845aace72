import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { type DType, dtypes, type FloatDType, type HostArray, viewAs } from '../../src/core/dtype.ts'
import { asQType, type QType } from '../../src/core/qtype.ts'
import { dequantize } from '../../src/kernels/quantize/dequantize/dequantize.ts'
import { scalesOf } from '../../src/kernels/quantize/quantize/quantize.cases.ts'
import { quantize } from '../../src/kernels/quantize/quantize/quantize.ts'
import { golden, readGolden } from '../golden.ts'

interface Quantized {
  scale: HostArray
  shift: HostArray | null
  codes: Uint8Array
  dequantized: HostArray
}

/** The definitions of the three kernels, one after the other; a row is a group when the weight is grouped. */
function quantizeRows(x: HostArray, dtype: FloatDType, rows: number, cols: number, qtype: QType): Quantized {
  const { code, array } = dtypes[dtype]
  const [scale, shift] = scalesOf(x, dtype, rows, cols, qtype)
  const codes = new Uint8Array(rows * cols)
  quantize(x, code, scale, 1, shift, null, codes, rows, cols, qtype.code, qtype.qmin, qtype.qmax, 0)
  const dequantized = new array(rows * cols)
  dequantize(codes, qtype.code, scale, 1, shift, null, dequantized, code, rows, cols)
  return { scale, shift, codes, dequantized }
}

/**
 * Compares raw bits, so that a zero of the wrong sign shows; names the first difference instead of printing
 * all of them.
 */
function assertBits(actual: HostArray | null, expected: HostArray | null, what: string): void {
  assert.equal(actual?.byteLength, expected?.byteLength, `${what}: bytes`)
  if (!actual || !expected) return
  const [a, b] = [actual, expected].map(
    (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength),
  )
  const byte = a.findIndex((value, i) => value !== b[i])
  const i = Math.floor(byte / actual.BYTES_PER_ELEMENT)
  assert.ok(
    byte === -1,
    `${what}[${i}] is ${actual[i]}; expected ${expected[i]} (raw bits where not float32)`,
  )
}

describe('quantizers against optimum-quanto, bit by bit', () => {
  // Made by scripts/make-quantizer-fixtures.py.
  const written = JSON.parse(readFileSync(new URL('../golden/quantizers.json', import.meta.url), 'utf8')) as {
    weights: Record<FloatDType, string>
    items: {
      dtype: FloatDType
      qtype: string
      rows: number
      cols: number
      scale: string
      shift: string | null
      codes: string
      dequantized: string
    }[]
  }
  const decode = (dtype: DType, base64: string) =>
    viewAs(dtype, Uint8Array.from(Buffer.from(base64, 'base64')))

  for (const { dtype, qtype: name, rows, cols, ...expected } of written.items) {
    test(`${dtype} ${name} ${rows}x${cols}`, () => {
      const x = decode(dtype, written.weights[dtype]).subarray(0, rows * cols)
      const actual = quantizeRows(x, dtype, rows, cols, asQType(name))
      assertBits(actual.scale, decode(dtype, expected.scale), 'scale')
      assertBits(actual.shift, expected.shift === null ? null : decode(dtype, expected.shift), 'shift')
      assertBits(actual.codes, decode('uint8', expected.codes), 'codes')
      assertBits(actual.dequantized, decode(dtype, expected.dequantized), 'dequantized')
    })
  }
})

describe('worked by hand', () => {
  test('qint8: ties to even, with a scale of 1', () => {
    const { scale, codes } = quantizeRows(
      Float32Array.of(127, 2.5, 3.5, -0.5, -1.5, 0),
      'float32',
      1,
      6,
      asQType('qint8'),
    )
    assert.deepEqual([...scale], [1])
    assert.deepEqual([...new Int8Array(codes.buffer)], [127, 2, 4, 0, -2, 0])
  })

  test('qint2: the range need not hold zero', () => {
    const { scale, shift, codes, dequantized } = quantizeRows(
      Float32Array.of(5, 6, 7, 8),
      'float32',
      1,
      4,
      asQType('qint2'),
    )
    assert.deepEqual(
      [[...scale], [...(shift ?? [])], [...codes], [...dequantized]],
      [[1], [-5], [0, 1, 2, 3], [5, 6, 7, 8]],
    )
  })

  test('a row of zeros is code 0 of every type, and a constant row keeps its value', () => {
    for (const name of ['qint2', 'qint4', 'qint8', 'qfloat8_e4m3fn', 'qfloat8_e5m2', 'qfloat8_e4m3fnuz']) {
      const { codes, dequantized } = quantizeRows(new Float32Array(4), 'float32', 1, 4, asQType(name))
      assert.deepEqual(
        [[...codes], [...dequantized]],
        [
          [0, 0, 0, 0],
          [0, 0, 0, 0],
        ],
        name,
      )
    }
    const constant = quantizeRows(Float32Array.of(0.25, 0.25), 'float32', 1, 2, asQType('qint4'))
    assert.deepEqual(
      [[...constant.codes], [...constant.dequantized]],
      [
        [0, 0],
        [0.25, 0.25],
      ],
    )
  })
})

const folder = join(golden, 'single_tensor')

describe('a 96 x 384 weight, from the golden data', () => {
  interface Item {
    file: string
    input: 'W' | 'W_plain'
  }
  const index = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8')) as {
    items: Record<string, Item>
    dequant_rows: number[]
  }

  for (const [name, { file, input }] of Object.entries(index.items)) {
    const match = /^quanto_(?:absmax|max)_((?:int|float)[^_]*(?:_e\w+?)?)(?:_g(\d+))?$/.exec(name)
    if (!match) continue
    test(name, async () => {
      const tensors = await rawTensors(join(folder, file))
      const qtype = asQType(match[1])
      const cols = Number(match[2] ?? 384)
      const rows = (96 * 384) / cols
      const x = (await rawTensors(join(folder, 'inputs.safetensors')))[input] as Float32Array
      const { scale, shift, codes, dequantized } = quantizeRows(x, 'float32', rows, cols, qtype)
      assertBits(scale, tensors.scale, 'scale')
      if (shift) assertBits(shift, tensors.shift, 'shift')
      assertBits(codes, tensors.codes_grouped ?? tensors.data, 'codes')
      const kept = index.dequant_rows.flatMap((row) => [
        ...(dequantized as Float32Array).subarray(row * 384, (row + 1) * 384),
      ])
      assertBits(Float32Array.from(kept), tensors.dequant, 'dequantized')
    })
  }
})

/** The tensors of a golden file as raw arrays. */
async function rawTensors(path: string): Promise<Record<string, HostArray>> {
  const tensors = [...(await readGolden(path))]
  return Object.fromEntries(
    tensors.map(([name, { dtype, bytes }]) => [name, viewAs(dtype === 'float32' ? dtype : 'uint8', bytes)]),
  )
}
