import { type ConvSizes, eachProduct } from '../conv2d/sizes.ts'

/**
 * dw[o,i,kr,kc] = Σ over b, r, c of dy[b,o,r,c] · x[b, i, r·stride − padding + kr·dilation, …], the gradient
 * of conv2d by w.
 * @param x [batch, inChannels, inHeight, inWidth] float32
 * @param dy [batch, outChannels, outHeight, outWidth] float32
 * @param dw [outChannels, inChannels / groups, kernelHeight, kernelWidth] float32
 */
export function conv2dWeightGradient(
  x: Float32Array,
  dy: Float32Array,
  dw: Float32Array,
  ...sizes: ConvSizes
): void {
  const sums = new Float64Array(dw.length)
  eachProduct(sizes, (xi, wi, yi) => {
    sums[wi] += x[xi] * dy[yi]
  })
  dw.set(sums)
}
