import type { KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals } from '../../inputs.ts'

/** Single values, tails of vectors, stretches of 256 rows and 64 vectors, more than one task. */
const shapes = [
  [1, 1, 1],
  [3, 1, 1],
  [1, 17, 1],
  [128, 10, 1],
  [513, 67, 1],
  [4099, 3, 1],
  [1000, 600, 1],
  [2, 5, 3],
  [7, 19, 49],
  [3, 2, 1061],
  [16, 64, 256],
] as const

/** Σ err by ε per addition at random sign: ε·‖column‖₂·‖1‖₂, c = 4, for sums of stretches. */
export const cases: KernelCase[] = shapes.map(([rows, cols, inner]) => ({
  name: `${rows} rows, ${cols} columns of ${inner}`,
  args: (random) => [normals(random, rows * cols * inner, 1, 0.5), new Float32Array(cols), rows, cols, inner],
  tolerance([x]) {
    const squares = new Float64Array(cols)
    for (const [i, value] of (x as Float32Array).entries())
      squares[Math.floor(i / inner) % cols] += value * value
    return squares.map((square) => 4 * epsilon * Math.sqrt(square * rows * inner))
  },
  defects: {
    'x rounded to bfloat16': ([x, ...rest]) => [inBfloat16(x as Float32Array), ...rest],
    'one value left out': ([x, ...rest]) => [(x as Float32Array).with(rows * cols * inner - 1, 0), ...rest],
  },
  work: { operations: rows * cols * inner, bytes: 4 * rows * cols * inner },
}))
