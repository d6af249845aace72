import { channelIndices } from '../batchNorm/batchNorm.ts'

/**
 * The gradient through `batchNorm`, x̂ = (x − mean)·inverse, n values a channel.
 *
 *     dbias = Σ dy,  dweight = Σ dy·x̂,  dx = weight·inverse·(dy − dbias/n − x̂·dweight/n)
 *
 * @param x [outer, channels, inner] float32
 * @param dy [outer, channels, inner] float32
 * @param weight [channels] float32, or null for 1
 * @param mean [channels] float32
 * @param inverse [channels] float32
 * @param dx [outer, channels, inner] float32
 * @param dweight [channels] float32
 * @param dbias [channels] float32
 */
export function batchNormGrad(
  x: Float32Array,
  dy: Float32Array,
  weight: Float32Array | null,
  mean: Float32Array,
  inverse: Float32Array,
  dx: Float32Array,
  dweight: Float32Array,
  dbias: Float32Array,
  outer: number,
  channels: number,
  inner: number,
): void {
  const n = outer * inner
  for (let c = 0; c < channels; c++) {
    const at = channelIndices(c, outer, channels, inner)
    const normal = (i: number) => (x[i] - mean[c]) * inverse[c]
    const sum = at.reduce((total, i) => total + dy[i], 0)
    const dot = at.reduce((total, i) => total + dy[i] * normal(i), 0)
    for (const i of at) dx[i] = (weight?.[c] ?? 1) * inverse[c] * (dy[i] - sum / n - (normal(i) * dot) / n)
    dweight[c] = dot
    dbias[c] = sum
  }
}
