import { dtypes, type FloatDType, type HostArray } from '../../../core/dtype.ts'
import { qint2, qint4, qint8 } from '../../../core/qtype.ts'
import type { KernelCase } from '../../case.ts'
import { normals, rawOf, replaced, shapes } from '../../inputs.ts'

const floats: FloatDType[] = ['float32', 'float16', 'bfloat16']

const pairs = floats.flatMap((dtype) => [qint2, qint4, qint8].map((qtype) => [dtype, qtype] as const))

export const cases: KernelCase[] = pairs.flatMap(([dtype, qtype]) =>
  [...shapes, [2, 256] as const].map(([rows, cols]) => ({
    name: `${rows}x${cols} ${dtype} ${qtype.name}`,
    args: (random) => {
      const mask = 2 ** qtype.bits - 1
      // Every code in order, so that rows of 256 hold them all.
      const codes = Uint8Array.from({ length: rows * cols }, (_, i) => i & mask)
      const zeroPoint = Uint8Array.from({ length: rows }, (_, r) => (1 + 77 * r) & mask)
      const scale = rawOf(dtype, normals(random, rows, 0.01, 0.1))
      return [
        codes,
        qtype.code,
        scale,
        zeroPoint,
        rawOf(dtype, new Float32Array(rows * cols)),
        dtypes[dtype].code,
        rows,
        cols,
      ]
    },
    tolerance: () => 'exact',
    defects: {
      'one code': (args) =>
        replaced(args, 0, (args[0] as Uint8Array).with(0, 1 + (args[0] as Uint8Array)[0])),
      'a zero point of 0': (args) => replaced(args, 3, new Uint8Array(rows)),
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
