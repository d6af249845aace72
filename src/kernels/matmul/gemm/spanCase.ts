import type { KernelCase } from '../../case.ts'

/** Of 20 rows: one, a few, many. */
const spans = [
  [7, 8],
  [3, 6],
  [2, 19],
] as const

/**
 * Cases of a product for some of its 20 rows.
 * @param at where the span is among the arguments
 */
export function spanCases(whole: KernelCase, at: number): KernelCase[] {
  const { defects: _, ...rest } = whole
  return spans.map(([first, end]) => ({
    ...rest,
    name: `${whole.name}, rows ${first} to ${end}`,
    args: (random) => whole.args(random).with(at, Int32Array.of(first, end)),
    defects: {
      'the row before': (args) => args.with(at, Int32Array.of(first - 1, end)),
      'all rows': (args) => args.with(at, null),
    },
  }))
}
