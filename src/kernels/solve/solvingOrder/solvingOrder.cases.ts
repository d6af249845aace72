import type { Random } from '../../../core/random.ts'
import type { KernelCase } from '../../case.ts'
import { replaced } from '../../inputs.ts'
import { orderRules } from './solvingOrder.ts'

/** Diagonals of a few values, so that some are equal, and some of 0; what lies beside them is larger. */
function diagonal(random: Random, cols: number): Float32Array {
  const h = new Float32Array(cols * cols).fill(9)
  for (let i = 0; i < cols; i++) h[i * (cols + 1)] = Math.floor(random.uniform() * 6) / 4
  return h
}

const sizes = [
  [1, 1],
  [7, 1],
  [17, 4],
  [96, 32],
  [172, 32],
  [300, 300],
] as const

/** An order is right or not. */
export const cases: KernelCase[] = Object.entries(orderRules).flatMap(([name, rule]) =>
  sizes.map(([cols, groupSize]) => ({
    name: `${name}, ${cols} columns in groups of ${groupSize}`,
    args: (random) => [
      ...[diagonal(random, cols), new Int32Array(cols), new Int32Array(cols)],
      ...[rule, groupSize, cols],
    ],
    tolerance: () => 'exact' as const,
    defects:
      rule === orderRules.none || cols < 17
        ? undefined
        : {
            'the sixth column has the most': (args) =>
              replaced(args, 0, (args[0] as Float32Array).with(5 * (cols + 1), 8)),
            'as they are': (args) => replaced(args, 3, orderRules.none),
          },
  })),
)
