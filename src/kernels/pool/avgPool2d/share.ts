import { poolWindow } from '../maxPool2d/window.ts'

/** The inputs of one output along one axis, padding left out, and how many there are with it. */
export interface Share {
  start: number
  end: number
  counted: number
}

/**
 * As PyTorch counts them: padding reaches `padding` values beyond the end, what a window hangs over further
 * counts never.
 */
export function averageShare(
  i: number,
  size: number,
  outSize: number,
  kernel: number,
  stride: number,
  padding: number,
): Share {
  const { start, end } = poolWindow(i, size, outSize, kernel, stride, padding)
  const padded = Math.min(end, size + padding)
  return { start: Math.max(start, 0), end: Math.min(end, size), counted: padded - start }
}

/** What the sum of a window is divided by. */
export function averageDivisor(rows: Share, cols: Share, countPadding: number, divisor: number): number {
  if (divisor !== 0) return divisor
  return countPadding ? rows.counted * cols.counted : (rows.end - rows.start) * (cols.end - cols.start)
}
