import type { KernelCase } from '../../case.ts'
import { counts, normals, replaced } from '../../inputs.ts'

/** Dense around 0, as the codebooks of scales are. */
const codebook = Float32Array.from(
  { length: 256 },
  (_, i) => Math.sign(i - 127) * (Math.abs(i - 127) / 128) ** 2,
)

/** Numbers of scales of one block, of several levels of sums, and of the levels' ends. */
const more = [32, 64, 511, 512, 513, 8192 + 33, 131072 + 5]

const args = (scale: Float32Array, blockSize: number) => [
  scale,
  codebook,
  new Uint8Array(scale.length),
  new Float32Array(Math.ceil(scale.length / blockSize)),
  new Float32Array(1),
  scale.length,
  blockSize,
]

const sizes = [...counts, ...more].flatMap((count) =>
  (count > 100_000 ? [256] : [5, 256]).map(
    (blockSize): KernelCase => ({
      name: `count=${count} blocks of ${blockSize}`,
      args: (random) => args(normals(random, count, 0.1, 1), blockSize),
      tolerance: () => 'exact',
      defects: {
        'twice the scales': (args) =>
          replaced(
            args,
            0,
            (args[0] as Float32Array).map((v) => 2 * v),
          ),
        ...(count > blockSize && { 'blocks half as long': (args) => replaced(args, 6, blockSize >> 1) }),
        ...(count > 100 && {
          'a codebook that is shifted': (args) =>
            replaced(
              args,
              1,
              codebook.map((v) => v + 2 ** -9),
            ),
        }),
      },
    }),
  ),
)

/** One scale throughout, which leaves nothing to quantize; scales that add up to more than float32 holds. */
const special = [1e-38, 0, 0.7, 3e38].map(
  (value): KernelCase => ({
    name: `all scales ${value}`,
    args: () => args(new Float32Array(300).fill(value), 256),
    tolerance: () => 'exact',
  }),
)

export const cases = [...sizes, ...special]
