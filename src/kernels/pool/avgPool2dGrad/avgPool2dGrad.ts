import { averageDivisor, averageShare } from '../avgPool2d/share.ts'

/**
 * dx = Σ dy / divisor over the windows that each value lies in: the gradient of `avgPool2d`, arguments as
 * there.
 * @param dy [planes, outHeight, outWidth] float32
 * @param dx [planes, height, width] float32
 */
export function avgPool2dGrad(
  dy: Float32Array,
  dx: Float32Array,
  planes: number,
  height: number,
  width: number,
  outHeight: number,
  outWidth: number,
  ...[
    kernelHeight,
    kernelWidth,
    strideHeight,
    strideWidth,
    padHeight,
    padWidth,
    countPadding,
    divisor,
  ]: number[]
): void {
  const sums = new Float64Array(dx.length)
  for (let p = 0; p < planes; p++)
    for (let oh = 0; oh < outHeight; oh++)
      for (let ow = 0; ow < outWidth; ow++) {
        const rows = averageShare(oh, height, outHeight, kernelHeight, strideHeight, padHeight)
        const cols = averageShare(ow, width, outWidth, kernelWidth, strideWidth, padWidth)
        const share =
          dy[(p * outHeight + oh) * outWidth + ow] / averageDivisor(rows, cols, countPadding, divisor)
        for (let h = rows.start; h < rows.end; h++)
          for (let w = cols.start; w < cols.end; w++) sums[(p * height + h) * width + w] += share
      }
  dx.set(sums)
}
