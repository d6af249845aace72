import { type ConvSizes, eachProduct } from '../conv2d/sizes.ts'

/**
 * dx[b,i,…] = bias[i] + Σ dy[b,o,r,c] · w[o,i,kr,kc] over all that conv2d makes of it: the gradient of conv2d
 * by x (without a bias), or a transposed convolution of dy. Sizes are those of the convolution.
 * @param dy [batch, outChannels, outHeight, outWidth] float32
 * @param w [outChannels, inChannels / groups, kernelHeight, kernelWidth] float32
 * @param bias [inChannels] float32, may be absent
 * @param dx [batch, inChannels, inHeight, inWidth] float32
 */
export function conv2dInputGradient(
  dy: Float32Array,
  w: Float32Array,
  bias: Float32Array | null,
  dx: Float32Array,
  ...sizes: ConvSizes
): void {
  const [, inChannels, inHeight, inWidth] = sizes
  const sums = Float64Array.from(
    { length: dx.length },
    (_, i) => bias?.[Math.floor(i / (inHeight * inWidth)) % inChannels] ?? 0,
  )
  eachProduct(sizes, (xi, wi, yi) => {
    sums[xi] += dy[yi] * w[wi]
  })
  dx.set(sums)
}
