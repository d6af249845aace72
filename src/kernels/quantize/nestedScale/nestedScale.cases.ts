import type { KernelCase } from '../../case.ts'
import { counts, normals, replaced } from '../../inputs.ts'

export const cases: KernelCase[] = counts.flatMap((count) =>
  [1, 5, 256].map(
    (blockSize): KernelCase => ({
      name: `count=${count} blocks of ${blockSize}`,
      args(random) {
        const codes = Uint8Array.from({ length: count }, (_, i) => (i < 256 ? i : random.uint32() & 255))
        const values = normals(random, Math.ceil(count / blockSize), 0.1, 1)
        const offset = Float32Array.of(0.37)
        return [codes, normals(random, 256), values, offset, new Float32Array(count), count, blockSize]
      },
      tolerance: () => 'exact',
      defects: {
        'no offset': (args) => replaced(args, 3, Float32Array.of(0)),
        'one code': (args) =>
          replaced(args, 0, (args[0] as Uint8Array).with(count - 1, 7 + (count === 8 ? 1 : 0))),
        ...(count > blockSize && {
          'blocks one longer': (args) => replaced(args, 6, blockSize + 1),
        }),
      },
    }),
  ),
)
