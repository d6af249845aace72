import type { KernelCase } from '../../case.ts'
import { replaced } from '../../inputs.ts'

const triples = [
  [1, 0.7, 0.9],
  [0.0123, 0.7, 0.9],
  [3.3e-5, 2.1e-5, 0.5],
  [1e-3, NaN, 0.9],
  [0.02, 0, 0],
] as const

export const cases: readonly KernelCase[] = triples.map(([scale, next, momentum]) => ({
  name: `scale=${scale} next=${next} momentum=${momentum}`,
  args: () => [Float32Array.of(scale), Float32Array.of(next), new Float32Array(1), momentum, 1 - momentum],
  tolerance: () => 'exact',
  defects:
    scale === 1 || next === 0 || Number.isNaN(next)
      ? undefined
      : {
          'momentum of the other': (args) =>
            replaced(replaced(args, 3, momentum / 2), 4, 1 - momentum / 2 + 0.125),
        },
}))
