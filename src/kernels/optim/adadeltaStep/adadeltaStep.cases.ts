import type { KernelArg, KernelCase } from '../../case.ts'
import { counts, epsilon, inBfloat16, normals, replaced } from '../../inputs.ts'

/** Roundings of the terms, g's possible cancellation carried through the square and the quotient. */
function tolerance(args: readonly KernelArg[], output: number): Float64Array {
  const [p, gradient, square, change] = (args as Float32Array[]).slice(0, 4)
  const [lr, rate, eps, weightDecay] = args.slice(4) as number[]
  return Float64Array.from(p, (_, i) => {
    const size = Math.abs(gradient[i]) + weightDecay * Math.abs(p[i])
    const g = gradient[i] + weightDecay * p[i]
    const s = square[i] + rate * (g * g - square[i])
    const squareError = epsilon * (square[i] + 3 * rate * (g * g + square[i]) + 4 * rate * Math.abs(g) * size)
    if (output === 2) return squareError
    const ratio = Math.sqrt(change[i] + eps) / Math.sqrt(s + eps)
    const delta = ratio * Math.abs(g)
    const deltaError = ratio * 2 * epsilon * size + delta * (squareError / (2 * (s + eps)) + 6 * epsilon)
    if (output === 3)
      return epsilon * (change[i] + 2 * rate * (delta ** 2 + change[i])) + 2 * rate * delta * deltaError
    return epsilon * Math.abs(p[i]) + lr * deltaError
  })
}

function stepCase(count: number, weightDecay: number): KernelCase {
  const scalars = [0.5, 0.1, 1e-3, weightDecay].map(Math.fround)
  const inBits = (index: number) => (args: KernelArg[]) =>
    replaced(args, index, inBfloat16(args[index] as Float32Array))
  const squares = (values: Float32Array) => values.map((x) => x * x)
  return {
    name: `weightDecay=${weightDecay} count=${count}`,
    args: (random) => [
      normals(random, count, 0.1),
      normals(random, count),
      squares(normals(random, count, 0.5)),
      squares(normals(random, count, 0.1)),
      ...scalars,
      count,
    ],
    tolerance,
    defects: {
      'gradient in bfloat16': inBits(1),
      'square in bfloat16': inBits(2),
      'change in bfloat16': inBits(3),
      'another learning rate': (args) => replaced(args, 4, 0.5001),
      'another rate': (args) => replaced(args, 5, 0.1001),
      'no epsilon': (args) => replaced(args, 6, 0),
      'another weight decay': (args) => replaced(args, 7, weightDecay + 0.01),
    },
    work: { operations: 14 * count, bytes: 4 * count * 7 },
  }
}

export const cases = counts.flatMap((count) => [stepCase(count, 0), stepCase(count, 0.25)])
