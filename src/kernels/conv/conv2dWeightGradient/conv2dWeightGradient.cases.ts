import type { KernelCase } from '../../case.ts'
import { normals } from '../../inputs.ts'
import { convBenchmarks, convDefects, convs, type SizedConv, sumTolerance } from '../conv2d/conv2d.cases.ts'
import { conv2dWeightGradient } from './conv2dWeightGradient.ts'

const weightGradientCase = ({ name, sizes, counts: [x, w, y], operations }: SizedConv): KernelCase => ({
  name,
  args: (random) => [normals(random, x), normals(random, y), new Float32Array(w), ...sizes],
  tolerance: (args) => sumTolerance(conv2dWeightGradient, args, 2),
  work: { operations, bytes: 4 * (x + w + y) },
  defects: convDefects([new Float32Array(x), new Float32Array(y), null, ...sizes]),
})

export const cases: KernelCase[] = convs.map(weightGradientCase)
export const benchmarks: KernelCase[] = convBenchmarks.map(weightGradientCase)
