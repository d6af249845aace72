import type { KernelCase } from '../../case.ts'

/**
 * A case of a product for some of its rows.
 * @param at where the span is among the arguments
 */
export function spanCase(whole: KernelCase, at: number, span: readonly [number, number]): KernelCase {
  const of = (first: number, end: number) => Int32Array.of(first, end)
  const { defects: _, ...rest } = whole
  return {
    ...rest,
    name: `${whole.name}, rows ${span[0]} to ${span[1]}`,
    args: (random) => whole.args(random).with(at, of(...span)),
    defects: {
      'the row before': (args) => args.with(at, of(Math.max(0, span[0] - 1), span[1])),
      'all rows': (args) => args.with(at, null),
    },
  }
}
