/**
 * The inputs that one output of a pool takes along one axis: start … end − 1 in steps of `dilation`, of which
 * those outside 0 … size − 1 are padding. A kernel size of 0 says adaptive: output i of n takes ⌊i·size/n⌋ …
 * ⌈(i + 1)·size/n⌉ − 1.
 */
export function poolWindow(
  i: number,
  size: number,
  outSize: number,
  kernel: number,
  stride: number,
  padding: number,
  dilation = 1,
): { start: number; end: number } {
  if (kernel === 0)
    return { start: Math.floor((i * size) / outSize), end: Math.ceil(((i + 1) * size) / outSize) }
  const start = i * stride - padding
  return { start, end: start + (kernel - 1) * dilation + 1 }
}
