import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, replaced } from '../../inputs.ts'
import { channelShapes } from '../batchNorm/batchNorm.cases.ts'

export const cases: KernelCase[] = channelShapes.flatMap(([outer, channels, inner]) =>
  [true, false].map(
    (shifted): KernelCase => ({
      name: `${outer}x${channels}x${inner}${shifted ? '' : ' without shift'}`,
      args: (random) => [
        normals(random, outer * channels * inner),
        normals(random, channels),
        shifted ? normals(random, channels) : null,
        new Float32Array(outer * channels * inner),
        ...[outer, channels, inner],
      ],
      // Product and sum, fused or not, and the definition: half an ulp each.
      tolerance: ([x, scale, shift]) =>
        Float64Array.from(x as Float32Array, (value, i) => {
          const c = Math.floor(i / inner) % channels
          return (
            epsilon *
            (1.5 * Math.abs(value * (scale as Float32Array)[c]) +
              Math.abs((shift as Float32Array | null)?.[c] ?? 0))
          )
        }),
      defects: {
        'x in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)),
        'scale in bfloat16': (args) => replaced(args, 1, inBfloat16(args[1] as Float32Array)),
        ...(shifted && { 'no shift': (args: KernelArg[]) => replaced(args, 2, null) }),
      },
    }),
  ),
)
