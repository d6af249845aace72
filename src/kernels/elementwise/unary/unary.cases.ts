import type { KernelCase } from '../../case.ts'
import { counts, epsilon, inBfloat16, normals, replaced, specials, tiny } from '../../inputs.ts'
import { tanhGeluSlope } from './normal.ts'
import { unary, unaryOps } from './unary.ts'

/**
 * Bounds in units of ε·|y|, with exp within 2 ulp and every further operation within half a one, plus the
 * definition's own rounding: exp 2.5; sigmoid e/(1+e) 2+2+½+½+½ = 5.5, of which at most 4 meet; silu one
 * product more. tanh above 1 takes at most 0.3 of an exp's error, below it is 9 operations of half an ulp on
 * positive terms. log is taken in float64 and rounded. gelu's tail is exp (2, and x²/4 for the rounding of
 * x²) times a quotient (1.5) and a polynomial (1), with products: 6.5; its approximation is silu of 2u, whose
 * error of 2·|2u| the sigmoid inherits times 1 − σ. Near underflow an error of 2·2^−149 comes on top, which a
 * factor x multiplies.
 */
const bounds: Partial<Record<keyof typeof unaryOps, (x: number) => number>> = {
  exp: () => 2.5,
  silu: () => 4.5,
  sigmoid: () => 4,
  tanh: () => 3,
  gelu: (x) => 6.5 + (x * x) / 4,
  geluTanh: (x) => 4.5 + (2 * Math.abs(2 * tanhGeluSlope(x))) / (1 + Math.exp(2 * tanhGeluSlope(x))),
  log: () => 1,
}
const timesX = ['silu', 'gelu', 'geluTanh']

function unaryCase(
  op: keyof typeof unaryOps,
  name: string,
  input: KernelCase['args'],
  defects?: KernelCase['defects'],
): KernelCase {
  const relative = bounds[op]
  return {
    name: `${op} ${name}`,
    args: input,
    tolerance: ([, x]) => {
      if (relative === undefined) return 'exact'
      const y = new Float32Array((x as Float32Array).length)
      unary(unaryOps[op], x as Float32Array, y, y.length)
      return Float64Array.from(y, (value, i) => {
        const at = (x as Float32Array)[i]
        return (
          relative(at) * epsilon * Math.abs(value) + 2 * tiny * (timesX.includes(op) ? 1 + Math.abs(at) : 1)
        )
      })
    },
    defects,
  }
}

export const cases: KernelCase[] = (Object.keys(unaryOps) as (keyof typeof unaryOps)[]).flatMap((op) => [
  ...counts.map((count) =>
    unaryCase(
      op,
      `count=${count}`,
      (random) => [
        unaryOps[op],
        normals(random, count, op === 'exp' ? 20 : 3),
        new Float32Array(count),
        count,
      ],
      // A few values may all be negative, where relu hides their rounding.
      count < 7
        ? undefined
        : { 'x in bfloat16': (args) => replaced(args, 1, inBfloat16(args[1] as Float32Array)) },
    ),
  ),
  unaryCase(op, 'special values', () => [
    unaryOps[op],
    specials,
    new Float32Array(specials.length),
    specials.length,
  ]),
  unaryCase(op, 'small values', (random) => [
    unaryOps[op],
    normals(random, 999, 0.01),
    new Float32Array(999),
    999,
  ]),
])
