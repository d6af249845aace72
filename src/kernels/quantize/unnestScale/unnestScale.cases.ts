import { type DType, dtypes } from '../../../core/dtype.ts'
import type { KernelCase } from '../../case.ts'
import { counts, normals, rawOf, replaced } from '../../inputs.ts'

interface Nested {
  dtype: DType
  bits?: number
  zero?: number
  codebook?: boolean
  valuesDtype?: DType
  offset?: number
}

function nestedCase(count: number, blockSize: number, nested: Nested): KernelCase {
  const { dtype, bits = 8, zero = 0, codebook = false, valuesDtype = 'float32', offset } = nested
  const most = 2 ** bits
  const kind = codebook ? 'a codebook' : `${dtype} of ${bits} bits from ${zero} on`
  return {
    name: `count=${count} blocks of ${blockSize}, ${kind}, ${valuesDtype}`,
    args(random) {
      const bytes = Uint8Array.from({ length: count }, (_, i) => (i < most ? i : random.uint32() % most))
      const codes = dtype === 'int8' ? new Int8Array(bytes.buffer) : bytes
      const values = rawOf(valuesDtype, normals(random, Math.ceil(count / blockSize), 0.1, 1))
      return [
        ...[codes, dtypes[dtype].code, zero, codebook ? normals(random, 256) : null],
        ...[values, dtypes[valuesDtype].code, offset === undefined ? null : Float32Array.of(offset)],
        ...[new Float32Array(count), count, blockSize],
      ]
    },
    tolerance: () => 'exact',
    defects: {
      'another offset': (args) => replaced(args, 6, Float32Array.of(0.41)),
      'one code': (args) => {
        const codes = (args[0] as Uint8Array).slice()
        codes[count - 1] ^= 1
        return replaced(args, 0, codes)
      },
      ...(zero > 0 && { 'codes from 0 on': (args) => replaced(args, 2, 0) }),
      ...(count > blockSize && { 'blocks one longer': (args) => replaced(args, 9, blockSize + 1) }),
    },
  }
}

export const cases: KernelCase[] = [
  ...counts.flatMap((count) =>
    [1, 5, 256].map((blockSize) =>
      nestedCase(count, blockSize, { dtype: 'uint8', codebook: true, offset: 0.37 }),
    ),
  ),
  ...[33, 1000].flatMap((count) => [
    nestedCase(count, 16, { dtype: 'uint8', bits: 4, valuesDtype: 'float16' }),
    nestedCase(count, 8, { dtype: 'uint8', bits: 6, zero: 32, valuesDtype: 'float16' }),
    nestedCase(count, 16, { dtype: 'int8', valuesDtype: 'float16' }),
    nestedCase(count, count, { dtype: 'float8_e4m3fn' }),
    nestedCase(count, count, { dtype: 'float8_e8m0fnu' }),
  ]),
]
