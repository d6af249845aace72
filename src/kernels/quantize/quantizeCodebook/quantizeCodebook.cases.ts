import { dtypes, type FloatDType } from '../../../core/dtype.ts'
import { encodeFloat } from '../../../core/halves.ts'
import type { KernelCase } from '../../case.ts'
import { counts, normals, rawOf, replaced, specials } from '../../inputs.ts'

const floats: FloatDType[] = ['float32', 'float16', 'bfloat16']

/** In no order, with two zeros as fp4 has them. */
const codebook = Float32Array.of(
  0,
  1,
  0.55,
  0.3,
  0.7,
  0.1,
  0.2,
  0.85,
  0,
  -1,
  -0.55,
  -0.3,
  -0.7,
  -0.1,
  -0.2,
  -0.85,
)

const outputs = (count: number, blockSize: number) => [
  new Uint8Array(count),
  new Float32Array(Math.ceil(count / blockSize)),
  count,
  blockSize,
]

const sizes = floats.flatMap((dtype) =>
  counts.flatMap((count) =>
    [7, 64, 4096].map(
      (blockSize): KernelCase => ({
        name: `count=${count} ${dtype} blocks of ${blockSize}`,
        args: (random) => {
          const x = rawOf(dtype, normals(random, count, 0.1))
          return [x, dtypes[dtype].code, codebook, ...outputs(count, blockSize)]
        },
        tolerance: () => 'exact',
        defects: {
          'negated values': (args) => {
            const bits = args[0] as Uint16Array
            return replaced(
              args,
              0,
              bits.map((value) => (dtype === 'float32' ? -value : value ^ 0x8000)),
            )
          },
          ...(count > blockSize && { 'blocks half as long': (args) => replaced(args, 6, blockSize >> 1) }),
          ...(count > 100 && {
            'a codebook a little larger': (args) =>
              replaced(
                args,
                2,
                codebook.map((v) => v * (1 + 2 ** -7)),
              ),
          }),
        },
      }),
    ),
  ),
)

/** Values on the bounds between codes and just beside them, in a whole block and in one that is shorter. */
const ties: KernelCase = {
  name: 'ties',
  args: () => {
    const sorted = codebook.toSorted()
    const bounds = [...sorted.slice(1)].map((v, i) => Math.fround(Math.fround(v + sorted[i]) / 2))
    const beside = bounds.flatMap((v) => [v, v + 2 ** -25, v - 2 ** -25])
    const x = Float32Array.from([1, ...beside, -1, ...beside])
    return [x, dtypes.float32.code, codebook, ...outputs(x.length, beside.length + 1)]
  },
  tolerance: () => 'exact',
  defects: {
    'a little more': (args) =>
      replaced(
        args,
        0,
        (args[0] as Float32Array).map((v) => v + 2 ** -24),
      ),
  },
}

/** Blocks of one special value each among small ones; blocks of zeros and of subnormals, last a short one. */
const special = floats.map(
  (dtype): KernelCase => ({
    name: `special values ${dtype}`,
    args: (random) => {
      const blockSize = 24
      const x = normals(random, (specials.length + 2) * blockSize + 5, 1e-4)
      for (const [i, value] of specials.entries()) x[i * blockSize + (i % blockSize)] = value
      x.fill(0, specials.length * blockSize)
      x.fill(encodeFloat(dtype, 1e-40) === 0 ? 0 : 1e-40, (specials.length + 1) * blockSize, -7)
      return [rawOf(dtype, x), dtypes[dtype].code, codebook, ...outputs(x.length, blockSize)]
    },
    tolerance: () => 'exact',
  }),
)

export const cases = [...sizes, ties, ...special]
