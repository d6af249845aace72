import { paddedIndex } from '../pad2d/pad2d.ts'

/**
 * dx[p,i,j] = Σ dy[p,r,c] over all that pad2d fills from x[p,i,j].
 * @param dy [planes, outHeight, outWidth] float32
 * @param dx [planes, height, width] float32
 */
export function pad2dGradient(
  mode: number,
  dy: Float32Array,
  dx: Float32Array,
  planes: number,
  height: number,
  width: number,
  outHeight: number,
  outWidth: number,
  top: number,
  left: number,
): void {
  const sums = new Float64Array(dx.length)
  for (let p = 0; p < planes; p++) {
    for (let r = 0; r < outHeight; r++) {
      for (let c = 0; c < outWidth; c++) {
        const [row, col] = [paddedIndex(mode, r - top, height), paddedIndex(mode, c - left, width)]
        if (row >= 0 && col >= 0)
          sums[(p * height + row) * width + col] += dy[(p * outHeight + r) * outWidth + c]
      }
    }
  }
  dx.set(sums)
}
