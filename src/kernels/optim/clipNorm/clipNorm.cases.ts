import type { KernelCase } from '../../case.ts'
import { counts, epsilon, inBfloat16, normals, replaced } from '../../inputs.ts'

/** The factor takes a sum and a quotient, the value a product. */
const tolerance: KernelCase['tolerance'] = ([x]) =>
  Float64Array.from(x as Float32Array, (value) => 3 * epsilon * Math.abs(value))

const clipped: KernelCase[] = counts.map((count) => ({
  name: `clipped count=${count}`,
  args: (random) => [normals(random, count), Float32Array.of(7), 2, count],
  tolerance,
  defects: {
    'x in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)),
    'another limit': (args) => replaced(args, 2, 2.001),
    'not clipped': (args) => replaced(args, 2, 8),
  },
}))

/** A norm below the limit, at it, of zero, infinite, NaN. */
const others: KernelCase[] = [1.5, 2, 0, Infinity, NaN].map((norm) => ({
  name: `norm=${norm}`,
  args: (random) => [normals(random, 37), Float32Array.of(norm), 2, 37],
  tolerance,
}))

export const cases = [...clipped, ...others]
