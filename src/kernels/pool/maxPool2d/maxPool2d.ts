import { poolWindow } from './window.ts'

/**
 * y = the largest value of each window, the first of equals, NaN if there is one; indices say where in its
 * plane it was.
 * @param x [planes, height, width] float32
 * @param y [planes, outHeight, outWidth] float32
 * @param indices [planes, outHeight, outWidth] int32
 * @param kernelHeight,kernelWidth 0 for adaptive windows
 */
export function maxPool2d(
  x: Float32Array,
  y: Float32Array,
  indices: Int32Array,
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
    dilationHeight,
    dilationWidth,
  ]: number[]
): void {
  for (let p = 0; p < planes; p++)
    for (let oh = 0; oh < outHeight; oh++)
      for (let ow = 0; ow < outWidth; ow++) {
        const rows = poolWindow(oh, height, outHeight, kernelHeight, strideHeight, padHeight, dilationHeight)
        const cols = poolWindow(ow, width, outWidth, kernelWidth, strideWidth, padWidth, dilationWidth)
        let best = -1
        for (let h = rows.start; h < rows.end; h += dilationHeight)
          for (let w = cols.start; w < cols.end; w += dilationWidth) {
            if (h < 0 || h >= height || w < 0 || w >= width) continue
            const at = h * width + w
            const [value, largest] = [x[p * height * width + at], x[p * height * width + best]]
            if (best < 0 || value > largest || (Number.isNaN(value) && !Number.isNaN(largest))) best = at
          }
        const to = (p * outHeight + oh) * outWidth + ow
        indices[to] = best
        y[to] = best < 0 ? -Infinity : x[p * height * width + best]
      }
}
