import type { KernelArg, KernelCase } from '../../case.ts'
import { counts, epsilon, inBfloat16, magnitudes, normals, replaced, specials } from '../../inputs.ts'

/** Each result is a sum of at most four products: a few roundings of the largest of them. */
function tolerance(
  [parameter, gradient, velocity, lr, momentum, rate, , weightDecay]: readonly KernelArg[],
  output: number,
): Float64Array {
  const [p, g] = [parameter as Float32Array, gradient as Float32Array]
  const v = velocity as Float32Array | null
  return Float64Array.from(p, (_, i) => {
    const size = Math.abs(g[i]) + (weightDecay as number) * Math.abs(p[i])
    const velocitySize = v ? (momentum as number) * Math.abs(v[i]) + (rate as number) * size : 0
    if (output === 2) return 4 * epsilon * velocitySize
    return epsilon * (Math.abs(p[i]) + 6 * (lr as number) * (size + velocitySize))
  })
}

interface Settings {
  momentum?: number
  dampening?: number
  nesterov?: number
  weightDecay?: number
}

function stepCase(
  name: string,
  count: number,
  { momentum = 0, dampening = 0, nesterov = 0, weightDecay = 0 }: Settings,
): KernelCase {
  const scalars = [0.125, momentum, 1 - dampening, nesterov, weightDecay].map(Math.fround)
  const defects: KernelCase['defects'] = {
    'gradient in bfloat16': (args) => replaced(args, 1, inBfloat16(args[1] as Float32Array)),
    'another learning rate': (args) => replaced(args, 3, 0.12501),
  }
  if (momentum > 0) {
    defects['velocity in bfloat16'] = (args) => replaced(args, 2, inBfloat16(args[2] as Float32Array))
    defects['nesterov or not'] = (args) => replaced(args, 6, 1 - nesterov)
  }
  if (dampening > 0) defects['no dampening'] = (args) => replaced(args, 5, 1)
  if (weightDecay > 0) defects['no weight decay'] = (args) => replaced(args, 7, 0)
  return {
    name: `${name} count=${count}`,
    args: (random) => [
      normals(random, count),
      normals(random, count),
      momentum > 0 ? normals(random, count) : null,
      ...scalars,
      count,
    ],
    tolerance,
    defects,
    work: { operations: 8 * count, bytes: 4 * count * (momentum > 0 ? 5 : 3) },
  }
}

const special: KernelCase = {
  name: 'special values',
  args: (random) => {
    const count = specials.length
    // A sixteenth, so that no sum of a few overflows.
    const gradient = magnitudes(random, count).map((x) => x / 16)
    return [normals(random, count), gradient, normals(random, count), 0.125, 0.5, 1, 1, 0.25, count]
  },
  tolerance,
}

export const cases = [
  ...counts.map((count) => stepCase('plain', count, {})),
  ...counts.map((count) =>
    stepCase('momentum, dampening, weight decay', count, { momentum: 0.9, dampening: 0.3, weightDecay: 0.1 }),
  ),
  ...counts.map((count) => stepCase('nesterov', count, { momentum: 0.9, nesterov: 1 })),
  special,
]
