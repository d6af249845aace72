import { type DType, dtypes, type HostArray } from '../../../core/dtype.ts'
import { encodeFloat } from '../../../core/halves.ts'
import type { KernelCase } from '../../case.ts'
import { counts, magnitudes, rawOf, replaced } from '../../inputs.ts'

const floats: DType[] = [
  'float32',
  'float16',
  'bfloat16',
  'float8_e4m3fn',
  'float8_e5m2',
  'float8_e4m3fnuz',
  'float8_e8m0fnu',
]

function castCase(
  from: DType,
  to: DType,
  name: string,
  count: number,
  input?: (index: number) => number,
): KernelCase {
  return {
    name: `${from} to ${to} ${name}`,
    args: (random) => {
      const x = rawOf(from, magnitudes(random, count))
      if (input) for (let i = 0; i < count; i++) x[i] = input(i)
      return [x, dtypes[from].code, new dtypes[to].array(count), dtypes[to].code, count]
    },
    tolerance: () => 'exact',
    defects: {
      // 5 has an exact pattern in all of them but powers of two, where it becomes 4.
      'one value': (args) => {
        const x = (args[0] as HostArray).slice()
        x[0] = encodeFloat(from, 5)
        return replaced(args, 0, x)
      },
    },
  }
}

const pairs = floats.flatMap((from) => floats.map((to) => [from, to] as const))

/** Every pair of dtypes on values of all magnitudes, and on every pattern that a small float has. */
export const cases: KernelCase[] = [
  ...pairs.flatMap(([from, to]) => [172, 1009].map((count) => castCase(from, to, `count=${count}`, count))),
  ...pairs
    .filter(([from]) => from !== 'float32')
    .map(([from, to]) => castCase(from, to, 'every pattern', 2 ** (8 * dtypes[from].bytes), (i) => i)),
  ...counts.map((count) => castCase('float32', 'bfloat16', `count=${count}`, count)),
]
