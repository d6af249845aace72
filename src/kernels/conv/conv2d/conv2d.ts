import { type ConvSizes, eachProduct } from './sizes.ts'

/**
 * y[b,o,r,c] = bias[o] + Σ over i, kr, kc of x[b, i, r·stride − padding + kr·dilation, …] · w[o,i,kr,kc]; x
 * is 0 outside. Channels are split into groups: outputs of a group see its inputs only.
 * @param x [batch, inChannels, inHeight, inWidth] float32
 * @param w [outChannels, inChannels / groups, kernelHeight, kernelWidth] float32
 * @param bias [outChannels] float32, may be absent
 * @param y [batch, outChannels, outHeight, outWidth] float32
 */
export function conv2d(
  x: Float32Array,
  w: Float32Array,
  bias: Float32Array | null,
  y: Float32Array,
  ...sizes: ConvSizes
): void {
  const [, , , , outChannels, outHeight, outWidth] = sizes
  const sums = Float64Array.from(
    { length: y.length },
    (_, i) => bias?.[Math.floor(i / (outHeight * outWidth)) % outChannels] ?? 0,
  )
  eachProduct(sizes, (xi, wi, yi) => {
    sums[yi] += x[xi] * w[wi]
  })
  y.set(sums)
}
