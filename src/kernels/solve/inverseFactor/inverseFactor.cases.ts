import type { Random } from '../../../core/random.ts'
import type { KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, replaced } from '../../inputs.ts'
import { gram } from '../gram/gram.ts'
import { inverseFactor, inverseFactorBytes } from './inverseFactor.ts'

/** The mean of 2·x·xᵀ over `rows` rows; the columns in `dead` have no inputs. */
function hessian(random: Random, rows: number, cols: number, dead: readonly number[]): Float32Array {
  const x = normals(random, rows * cols).map((value, at) => (dead.includes(at % cols) ? 0 : value))
  const h = new Float32Array(cols * cols)
  gram(x, h, new Float32Array(1), rows, cols)
  return h
}

function shuffled(random: Random, cols: number): Int32Array {
  const order = Int32Array.from({ length: cols }, (_, i) => i)
  for (let i = cols - 1; i > 0; i--) {
    const j = Math.floor(random.uniform() * (i + 1))
    ;[order[i], order[j]] = [order[j], order[i]]
  }
  return order
}

/**
 * Errors of a float32 factor grow with the condition of H, c·ε·κ·max |F|, c = 8: κ of 4 rows a column is
 * (1.5 / 0.5)², of half a row a column (1 + √2)² / damp.
 */
function caseOf(cols: number, rows: number, damp: number, dead: readonly number[] = []): KernelCase {
  const condition = rows >= 4 * cols ? 9 : 583
  return {
    name: `${cols} columns of ${rows} rows, damped by ${damp}`,
    args: (random) => [
      hessian(random, rows, cols, dead),
      shuffled(random, cols),
      ...[damp, 0.01, new Float32Array(cols * cols), new Float32Array(1)],
      ...[new Uint8Array(inverseFactorBytes(cols)), cols],
    ],
    tolerance([h, order], output) {
      if (output === 5) return 'exact'
      // What it is worked in is nobody's result.
      if (output === 6) return Infinity
      const factor = new Float32Array(cols * cols)
      inverseFactor(
        h as Float32Array,
        order as Int32Array,
        damp,
        0.01,
        factor,
        new Float32Array(1),
        null,
        cols,
      )
      return 8 * epsilon * condition * factor.reduce((most, value) => Math.max(most, Math.abs(value)))
    },
    defects: {
      'damped more': (args) => replaced(args, 2, damp + 0.02),
      ...(condition === 9 &&
        cols > 2 && {
          'h in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)),
          'another order': (args) => replaced(args, 1, (args[1] as Int32Array).toReversed()),
        }),
    },
    work: { operations: (2 / 3) * cols ** 3, bytes: 8 * cols * cols },
  }
}

/**
 * A single column, tails of blocks, several blocks and stretches of 256; singular ones; columns without
 * inputs.
 */
export const cases: KernelCase[] = [
  caseOf(1, 5, 0.01),
  caseOf(3, 12, 0.01),
  caseOf(64, 256, 0),
  caseOf(65, 260, 0.01, [0, 7, 64]),
  caseOf(130, 520, 0.05),
  caseOf(270, 1080, 0.01),
  caseOf(96, 48, 0),
  caseOf(130, 65, 0.01, [3]),
  {
    ...caseOf(17, 68, 0.01),
    name: 'what is not finite',
    args: () => [
      new Float32Array(17 * 17).fill(1).with(20, Infinity),
      Int32Array.from({ length: 17 }, (_, i) => i),
      ...[
        0.01,
        0.01,
        new Float32Array(17 * 17),
        new Float32Array(1),
        new Uint8Array(inverseFactorBytes(17)),
        17,
      ],
    ],
    tolerance: (_, output) => (output === 6 ? Infinity : 'exact'),
    defects: {
      finite: (args) =>
        replaced(
          args,
          0,
          Float32Array.from({ length: 17 * 17 }, (_, i) => +(i % 18 === 0)),
        ),
    },
  },
]
