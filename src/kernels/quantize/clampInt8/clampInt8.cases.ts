import type { KernelCase } from '../../case.ts'
import { counts, replaced } from '../../inputs.ts'

/** Every code, and bounds within, at and beyond the ends, between two codes and on a tie. */
export const cases: readonly KernelCase[] = counts.flatMap((count, i): KernelCase => {
  const [low, high] = [
    [0, 6],
    [-1.25, 2.375],
    [0, Infinity],
    [-Infinity, 1e9],
  ][i % 4]
  return {
    name: `count=${count} ${low}..${high}`,
    args: () => [
      Uint8Array.from({ length: count }, (_, i) => 128 - 53 * i),
      Float32Array.of(i % 3 === 2 ? 0 : 0.25),
      low,
      high,
      new Uint8Array(count),
      count,
    ],
    tolerance: () => 'exact',
    defects:
      count < 7 || i % 3 === 2 || high > 100
        ? undefined
        : { 'another scale': (args) => replaced(args, 1, Float32Array.of(0.15)) },
  }
})
