import { dtypes, type FloatDType, type HostArray } from '../../../core/dtype.ts'
import { type QType, qtypesByCode } from '../../../core/qtype.ts'
import type { KernelCase } from '../../case.ts'
import { inBfloat16, normals, rawOf, replaced, shapes, specials } from '../../inputs.ts'
import { absmaxScale } from '../absmaxScale/absmaxScale.ts'
import { minmaxScale } from '../minmaxScale/minmaxScale.ts'

const floats: FloatDType[] = ['float32', 'float16', 'bfloat16']

/** Scale and shift as quanto chooses them. */
export function scalesOf(
  x: HostArray,
  dtype: FloatDType,
  rows: number,
  cols: number,
  qtype: QType,
): [scale: HostArray, shift: HostArray | null] {
  const scale = rawOf(dtype, new Float32Array(rows))
  const shift = qtype.unsigned ? rawOf(dtype, new Float32Array(rows)) : null
  if (shift) minmaxScale(x, dtypes[dtype].code, scale, shift, rows, cols, qtype.qmax)
  else absmaxScale(x, dtypes[dtype].code, scale, rows, cols, qtype.qmax)
  return [scale, shift]
}

const pairs = floats.flatMap((dtype) => qtypesByCode.map((qtype) => [dtype, qtype] as const))

/** With quanto's scales, the last row constant (or zero): its scale is 0. */
const sizes: KernelCase[] = pairs.flatMap(([dtype, qtype]) =>
  shapes.map(([rows, cols]) => ({
    name: `${rows}x${cols} ${dtype} ${qtype.name}`,
    args: (random) => {
      const values = normals(random, rows * cols, 0.1)
      if (rows > 1) values.fill(qtype.unsigned ? 0.3 : 0, (rows - 1) * cols)
      const x = rawOf(dtype, values)
      const scales = scalesOf(x, dtype, rows, cols, qtype)
      return [x, dtypes[dtype].code, ...scales, new Uint8Array(rows * cols), rows, cols, qtype.code]
    },
    tolerance: () => 'exact',
    // Too few values may keep their codes.
    defects:
      rows < 3 || cols < 64
        ? undefined
        : ({
            'scale of the next row': (args) => {
              const scale = args[2] as HostArray
              return replaced(
                args,
                2,
                scale.map((_: unknown, r: number) => scale[(r + 1) % rows] as never) as HostArray,
              )
            },
            ...(dtype === 'float32' &&
              qtype.bits === 8 && {
                'x in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)),
              }),
            ...(qtype.unsigned && {
              'shift of the next row': (args) => {
                const shift = args[3] as HostArray
                return replaced(
                  args,
                  3,
                  shift.map((_: unknown, r: number) => shift[(r + 1) % rows] as never) as HostArray,
                )
              },
            }),
          } as KernelCase['defects']),
  })),
)

/**
 * Ties with a scale of 1, values far outside the codes, NaN and infinities; then scales that are subnormal,
 * infinite and NaN.
 */
const special: KernelCase[] = pairs.map(([dtype, qtype]) => ({
  name: `special values ${dtype} ${qtype.name}`,
  args: () => {
    const ties = Float32Array.from({ length: 523 - specials.length }, (_, i) => i / 2 - 120)
    const row = [...specials, ...ties]
    const scale = rawOf(dtype, [1, 2 ** -14, 2 ** -24, Infinity, NaN, 0])
    const shift = qtype.unsigned ? rawOf(dtype, [0, 1, -1, 0.1, 0, 3]) : null
    const rows = scale.length
    const x = rawOf(dtype, Array.from({ length: rows }, () => row).flat())
    return [x, dtypes[dtype].code, scale, shift, new Uint8Array(x.length), rows, 523, qtype.code]
  },
  tolerance: () => 'exact',
}))

export const cases = [...sizes, ...special]
