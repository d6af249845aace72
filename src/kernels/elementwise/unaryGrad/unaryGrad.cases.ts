import type { KernelArg, KernelCase } from '../../case.ts'
import { counts, epsilon, inBfloat16, normals, replaced, specials, tiny } from '../../inputs.ts'
import { normalCdf, normalDensity, tanhGeluSlope } from '../unary/normal.ts'
import { unary, unaryOps } from '../unary/unary.ts'

type Op = keyof typeof unaryOps

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))

/**
 * Bounds of f′ in units of ε, term by term, since terms cancel: exp errs by 2, sigmoid by 4 (unary.cases.ts),
 * Φ by 6.5 + x²/4, the slope 2u of tanh's argument by 2·|2u|·(1 − σ), every operation by half, the definition
 * by half. Operations not listed round once, like the definition.
 */
const bounds: Partial<Record<Op, (x: number, y: number) => number>> = {
  silu: (x) => sigmoid(x) * (6 + 11 * Math.abs(x) * sigmoid(-x)),
  sigmoid: (_, y) => 2.5 * Math.abs(y * (1 - y)),
  tanh: (_, y) => 3 * Math.abs(1 - y * y),
  gelu: (x) => (8 + (x * x) / 4) * normalCdf(x) + (5 + (x * x) / 4) * Math.abs(x) * normalDensity(x),
  geluTanh: (x) => {
    const u2 = Math.abs(2 * tanhGeluSlope(x))
    const [s, rest] = [sigmoid(2 * tanhGeluSlope(x)), sigmoid(-2 * tanhGeluSlope(x))]
    const inner = 2 * Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x * x)
    return s * (6 + 2 * u2 * rest + (12 + 2 * u2) * Math.abs(x) * rest * inner)
  },
}

function tolerance([op, x, y, dy]: readonly KernelArg[]): 'exact' | Float64Array {
  const bound = bounds[Object.keys(unaryOps)[op as number] as Op]
  if (!bound) return 'exact'
  return Float64Array.from(x as Float32Array, (value, i) => {
    const size = Math.abs((dy as Float32Array)[i])
    // Far out products of infinity and zero are no bound; NaN compares equal there.
    // Near underflow exp errs by 2·2^−149, which what it is multiplied with enlarges: x, for gelu's
    // approximation x·(1.6 + 0.22·x²).
    const factor =
      1 + Math.abs(value) * (bound === bounds.geluTanh && Math.abs(value) < 20 ? 2 + 0.22 * value * value : 1)
    return (size * bound(value, (y as Float32Array)[i]) || 0) * epsilon + 4 * tiny * factor * (1 + size)
  })
}

/** The arguments for inputs x and gradients dy, y being f(x). */
function gradArgs(op: Op, x: Float32Array, dy: Float32Array): KernelArg[] {
  const y = new Float32Array(x.length)
  unary(unaryOps[op], x, y, x.length)
  return [unaryOps[op], x, y, dy, new Float32Array(x.length), x.length]
}

export const cases: KernelCase[] = (Object.keys(unaryOps) as Op[]).flatMap((op): KernelCase[] => [
  ...counts.map(
    (count): KernelCase => ({
      name: `${op} count=${count}`,
      args: (random) => gradArgs(op, normals(random, count, 3), normals(random, count)),
      tolerance,
      defects: {
        // A few values may all be negative, where relu hides their rounding, or have no logarithm.
        ...(count >= 7 && {
          'dy in bfloat16': (args: KernelArg[]) => replaced(args, 3, inBfloat16(args[3] as Float32Array)),
        }),
      },
    }),
  ),
  {
    name: `${op} special values`,
    args: () => gradArgs(op, specials, new Float32Array(specials.length).fill(1.5)),
    tolerance,
  },
])
