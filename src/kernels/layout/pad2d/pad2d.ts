/**
 * What lies outside an image: zeros, the image mirrored at its border pixels, its border pixels, or the image
 * again.
 */
export const padModes = { zeros: 0, reflect: 1, replicate: 2, circular: 3 } as const

/**
 * The index that position `i`, below 0 or from `size` on, takes its value from; −1 for zero. Reaches one
 * image far.
 */
export function paddedIndex(mode: number, i: number, size: number): number {
  if (i >= 0 && i < size) return i
  switch (mode) {
    case padModes.reflect:
      return i < 0 ? -i : 2 * (size - 1) - i
    case padModes.replicate:
      return i < 0 ? 0 : size - 1
    case padModes.circular:
      return i < 0 ? i + size : i - size
    default:
      return -1
  }
}

/**
 * y[p,r,c] = x[p, r − top, c − left], outside of x what `mode` says.
 * @param x [planes, height, width] float32
 * @param y [planes, outHeight, outWidth] float32
 */
export function pad2d(
  mode: number,
  x: Float32Array,
  y: Float32Array,
  planes: number,
  height: number,
  width: number,
  outHeight: number,
  outWidth: number,
  top: number,
  left: number,
): void {
  for (let p = 0; p < planes; p++) {
    for (let r = 0; r < outHeight; r++) {
      for (let c = 0; c < outWidth; c++) {
        const [row, col] = [paddedIndex(mode, r - top, height), paddedIndex(mode, c - left, width)]
        y[(p * outHeight + r) * outWidth + c] = row < 0 || col < 0 ? 0 : x[(p * height + row) * width + col]
      }
    }
  }
}
