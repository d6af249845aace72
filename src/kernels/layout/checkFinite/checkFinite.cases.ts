import { type DType, dtypes } from '../../../core/dtype.ts'
import type { KernelCase } from '../../case.ts'
import { counts, normals, rawOf, replaced } from '../../inputs.ts'

/** The bits of infinity, without a sign. */
const infinities = { float32: 0x7f800000, float16: 0x7c00, bfloat16: 0x7f80 } as const
type Checked = keyof typeof infinities

function checkFiniteCase(
  dtype: Checked,
  count: number,
  bad: Record<number, number>,
  limit: number,
): KernelCase {
  const made = Object.keys(bad).map((at) => Number(at))
  return {
    name: `${dtype} ${count} values, ${made.length > 0 ? `bad at ${made.join(', ')}` : 'all good'}`,
    args(random) {
      const values = normals(random, count)
      for (const at of made) values[at] = bad[at]
      return [rawOf(dtype as DType, values), dtypes[dtype].code, limit, new Int32Array(1), count]
    },
    tolerance: () => 'exact',
    defects: {
      'an infinity before all others': (args) => {
        const x = (args[0] as Uint16Array | Float32Array).slice()
        x[0] = dtype === 'float32' ? Infinity : infinities[dtype]
        return replaced(args, 0, x)
      },
    },
    work: { operations: 0, bytes: count * dtypes[dtype].bytes },
  }
}

export const cases: KernelCase[] = (['float32', 'float16', 'bfloat16'] as const).flatMap((dtype) => [
  ...counts.map((count) => checkFiniteCase(dtype, count, {}, infinities[dtype])),
  checkFiniteCase(dtype, 31, { 30: NaN }, infinities[dtype]),
  checkFiniteCase(dtype, 70001, { 65600: -Infinity, 70000: NaN }, infinities[dtype]),
  // Three tasks; the last two find something.
  checkFiniteCase(dtype, 600001, { 300007: NaN, 299999: Infinity, 524288: NaN }, infinities[dtype]),
])

/** Numbers that round to infinity as float16: 65520 is the least. */
export const overflowing: KernelCase = checkFiniteCase(
  'float32',
  1009,
  { 500: 65519, 700: -65520 },
  0x477ff000,
)
cases.push(overflowing)

export const benchmarks: KernelCase[] = [checkFiniteCase('bfloat16', 2 ** 24, {}, infinities.bfloat16)]
