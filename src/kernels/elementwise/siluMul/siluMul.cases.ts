import type { KernelArg, KernelCase } from '../../case.ts'
import { counts, epsilon, inBfloat16, normals, replaced, specials, tiny } from '../../inputs.ts'
import { siluMul } from './siluMul.ts'

/**
 * silu's 4.5ε·|y| (unary.cases.ts) and half an ulp for the product; near underflow the sigmoid errs by
 * 2·2^−149, times gate and up.
 */
function tolerance([gate, up]: readonly KernelArg[]): Float64Array {
  const [g, u] = [gate as Float32Array, up as Float32Array]
  const y = new Float32Array(g.length)
  siluMul(g, u, y, y.length)
  return Float64Array.from(
    y,
    (value, i) => 5 * epsilon * Math.abs(value) + 2 * tiny * (1 + (1 + Math.abs(g[i])) * Math.abs(u[i])),
  )
}

const sizes: KernelCase[] = counts.map((count) => ({
  name: `count=${count}`,
  args: (random) => [normals(random, count, 3), normals(random, count), new Float32Array(count), count],
  tolerance,
  defects: {
    'gate in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)),
    'gate and up exchanged': ([gate, up, ...rest]) => [up, gate, ...rest],
  },
}))

const special: KernelCase = {
  name: 'special values',
  args: (random) => {
    const count = specials.length
    return [specials, normals(random, count), new Float32Array(count), count]
  },
  tolerance,
}

export const cases = [...sizes, special]
