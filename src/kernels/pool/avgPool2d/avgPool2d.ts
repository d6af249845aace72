import { averageDivisor, averageShare } from './share.ts'

/**
 * y = the mean of each window: of its values with or without padding, or their sum over a given divisor. An
 * empty window gives 0.
 * @param x [planes, height, width] float32
 * @param y [planes, outHeight, outWidth] float32
 * @param kernelHeight,kernelWidth 0 for adaptive windows
 * @param countPadding 1 if padding counts
 * @param divisor 0 for the number of values
 */
export function avgPool2d(
  x: Float32Array,
  y: Float32Array,
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
  for (let p = 0; p < planes; p++)
    for (let oh = 0; oh < outHeight; oh++)
      for (let ow = 0; ow < outWidth; ow++) {
        const rows = averageShare(oh, height, outHeight, kernelHeight, strideHeight, padHeight)
        const cols = averageShare(ow, width, outWidth, kernelWidth, strideWidth, padWidth)
        let sum = 0
        for (let h = rows.start; h < rows.end; h++)
          for (let w = cols.start; w < cols.end; w++) sum += x[(p * height + h) * width + w]
        const empty = rows.start >= rows.end || cols.start >= cols.end
        y[(p * outHeight + oh) * outWidth + ow] = empty
          ? 0
          : sum / averageDivisor(rows, cols, countPadding, divisor)
      }
}
