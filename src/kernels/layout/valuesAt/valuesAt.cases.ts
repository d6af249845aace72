import type { KernelCase } from '../../case.ts'

function valuesCase(starts: readonly number[], count: number, length: number): KernelCase {
  const batch = starts.length
  return {
    name: `starts=${starts} count=${count} length=${length}`,
    args: (random) => [
      Int32Array.from({ length }, () => Math.floor(1e6 * random.normal())),
      Int32Array.from(starts),
      new Int32Array(batch * count),
      ...[batch, count, length],
    ],
    tolerance: () => 'exact',
    defects: {
      ...(length > 1 && {
        'one place later': (args) =>
          args.with(
            1,
            Int32Array.from(starts, (start) => start + 1),
          ),
      }),
    },
    work: { operations: 0, bytes: 8 * batch * count },
  }
}

export const cases: KernelCase[] = [
  valuesCase([0], 1, 1),
  valuesCase([0, 4, 2], 3, 7),
  valuesCase([5, 0, 60, 33], 67, 200),
  // Before the first value, and behind the last.
  valuesCase([-1, 3, 6, 90], 4, 7),
]
