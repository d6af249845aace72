import { dtypes, type FloatDType, type HostArray } from '../../../core/dtype.ts'
import { qtypesByCode } from '../../../core/qtype.ts'
import type { KernelCase } from '../../case.ts'
import { normals, rawOf, replaced, shapes } from '../../inputs.ts'

const floats: FloatDType[] = ['float32', 'float16', 'bfloat16']

const pairs = floats.flatMap((dtype) => qtypesByCode.map((qtype) => [dtype, qtype] as const))

export const cases: KernelCase[] = pairs.flatMap(([dtype, qtype]) =>
  [...shapes, [2, 256] as const].map(([rows, cols]) => ({
    name: `${rows}x${cols} ${dtype} ${qtype.name}`,
    args: (random) => {
      // Every code in order, so that rows of 256 hold them all.
      const codes = Uint8Array.from({ length: rows * cols }, (_, i) => i & (2 ** qtype.bits - 1))
      const scale = rawOf(dtype, normals(random, rows, 0.01, 0.1))
      const shift = qtype.unsigned ? rawOf(dtype, normals(random, rows)) : null
      return [
        codes,
        qtype.code,
        scale,
        shift,
        rawOf(dtype, new Float32Array(rows * cols)),
        dtypes[dtype].code,
        rows,
        cols,
      ]
    },
    tolerance: () => 'exact',
    defects: {
      'one code': (args) => replaced(args, 0, (args[0] as Uint8Array).with(0, 1)),
      ...(rows > 1 && {
        'scale of the next row': (args) => {
          const scale = args[2] as HostArray
          return replaced(
            args,
            2,
            scale.map((_: unknown, r: number) => scale[(r + 1) % rows] as never) as HostArray,
          )
        },
      }),
    } as KernelCase['defects'],
  })),
)
