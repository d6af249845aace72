/**
 * y = (x − mean[c]) / √(variance[c] + ε) · weight[c] + bias[c], mean and variance taken over all values of
 * channel c.
 *
 *     running = (1 − momentum)·running + momentum·batch, the variance there divided by n − 1
 *
 * Source: Ioffe, Szegedy, "Batch Normalization", 2015, algorithm 1; running statistics as
 * torch.nn.BatchNorm2d keeps them.
 * @param x [outer, channels, inner] float32
 * @param weight [channels] float32, or null for 1
 * @param bias [channels] float32, or null for 0
 * @param y [outer, channels, inner] float32
 * @param mean [channels] float32
 * @param inverse [channels] float32, 1 / √(variance + ε)
 * @param runningMean [channels] float32, or null where none is kept
 * @param runningVariance [channels] float32, or null
 * @param batches [2] int32, one int64 that counts up; or null
 */
export function batchNorm(
  x: Float32Array,
  weight: Float32Array | null,
  bias: Float32Array | null,
  epsilon: number,
  momentum: number,
  y: Float32Array,
  mean: Float32Array,
  inverse: Float32Array,
  runningMean: Float32Array | null,
  runningVariance: Float32Array | null,
  batches: Int32Array | null,
  outer: number,
  channels: number,
  inner: number,
): void {
  const n = outer * inner
  const m = Math.fround(momentum)
  for (let c = 0; c < channels; c++) {
    const at = channelIndices(c, outer, channels, inner)
    const center = at.reduce((sum, i) => sum + x[i], 0) / n
    const square = at.reduce((sum, i) => sum + (x[i] - center) ** 2, 0)
    const deviation = Math.sqrt(square / n + Math.fround(epsilon))
    for (const i of at) y[i] = ((x[i] - center) / deviation) * (weight?.[c] ?? 1) + (bias?.[c] ?? 0)
    mean[c] = center
    inverse[c] = 1 / deviation
    if (runningMean) runningMean[c] = (1 - m) * runningMean[c] + m * center
    if (runningVariance) runningVariance[c] = (1 - m) * runningVariance[c] + (m * square) / (n - 1)
  }
  if (batches && ++batches[0] === 0) batches[1]++
}

/** Where the values of channel c lie in [outer, channels, inner]. */
export function channelIndices(c: number, outer: number, channels: number, inner: number): number[] {
  return Array.from(
    { length: outer * inner },
    (_, k) => (Math.floor(k / inner) * channels + c) * inner + (k % inner),
  )
}
