import type { KernelCase } from '../../case.ts'
import { normals } from '../../inputs.ts'
import { convBenchmarks, convDefects, convs, type SizedConv, sumTolerance } from '../conv2d/conv2d.cases.ts'
import { conv2dInputGradient } from './conv2dInputGradient.ts'

function inputGradientCase(
  { name, sizes, counts: [x, w, y], operations }: SizedConv,
  withBias: boolean,
): KernelCase {
  return {
    name: `${name}${withBias ? ' bias' : ''}`,
    args: (random) => {
      const bias = withBias ? normals(random, sizes[1]) : null
      return [normals(random, y), normals(random, w), bias, new Float32Array(x), ...sizes]
    },
    tolerance: (args) => sumTolerance(conv2dInputGradient, args, 3),
    work: { operations, bytes: 4 * (x + w + y) },
    defects: convDefects([new Float32Array(x), new Float32Array(w), null, null, ...sizes]),
  }
}

export const cases: KernelCase[] = convs.map((conv, i) => inputGradientCase(conv, i % 2 === 0))
export const benchmarks: KernelCase[] = convBenchmarks.map((conv) => inputGradientCase(conv, false))
