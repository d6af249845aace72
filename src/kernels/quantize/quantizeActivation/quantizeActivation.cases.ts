import { type QType, qfloat8_e4m3fn, qfloat8_e4m3fnuz, qfloat8_e5m2, qint8 } from '../../../core/qtype.ts'
import type { KernelCase } from '../../case.ts'
import { counts, inBfloat16, normals, replaced, specials } from '../../inputs.ts'

/** The types that activations have. */
export const activationTypes: readonly QType[] = [qint8, qfloat8_e4m3fn, qfloat8_e5m2, qfloat8_e4m3fnuz]

/** A scale at which the largest values are cut off, as those of a later batch may be. */
const sizes: KernelCase[] = activationTypes.flatMap((qtype) =>
  counts.map((count) => ({
    name: `count=${count} ${qtype.name}`,
    args: (random) => [
      normals(random, count),
      Float32Array.of(2.5 / qtype.qmax),
      new Uint8Array(count),
      count,
      qtype.code,
    ],
    tolerance: () => 'exact',
    defects:
      count < 172
        ? undefined
        : ({
            'twice the scale': (args) => replaced(args, 1, Float32Array.of(5 / qtype.qmax)),
            'x in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)),
          } as KernelCase['defects']),
  })),
)

/** Ties with a scale of 1, values far outside the codes, NaN and infinities, at scales that are none. */
const special: KernelCase[] = activationTypes.flatMap((qtype) =>
  [1, 2 ** -14, 2 ** -149, Infinity, NaN, 0].map((scale) => ({
    name: `special values, scale ${scale} ${qtype.name}`,
    args: () => {
      const x = Float32Array.of(...specials, ...Array.from({ length: 600 }, (_, i) => i / 2 - 150))
      return [x, Float32Array.of(scale), new Uint8Array(x.length), x.length, qtype.code]
    },
    tolerance: () => 'exact',
  })),
)

export const cases = [...sizes, ...special]
