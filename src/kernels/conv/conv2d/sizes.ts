/** Sizes of a convolution, in the order in which its kernels take them. */
export type ConvSizes = [
  batch: number,
  inChannels: number,
  inHeight: number,
  inWidth: number,
  outChannels: number,
  outHeight: number,
  outWidth: number,
  kernelHeight: number,
  kernelWidth: number,
  strideHeight: number,
  strideWidth: number,
  paddingHeight: number,
  paddingWidth: number,
  dilationHeight: number,
  dilationWidth: number,
  groups: number,
]

/**
 * Calls `visit` with the index of every x, w and y that meet in a product: y += x · w, w [outChannels,
 * inChannels / groups, kernel].
 */
export function eachProduct(sizes: ConvSizes, visit: (x: number, w: number, y: number) => void): void {
  const [
    batch,
    inChannels,
    inHeight,
    inWidth,
    outChannels,
    outHeight,
    outWidth,
    kernelHeight,
    kernelWidth,
    ...rest
  ] = sizes
  const [strideHeight, strideWidth, paddingHeight, paddingWidth, dilationHeight, dilationWidth, groups] = rest
  const [inGroup, outGroup] = [inChannels / groups, outChannels / groups]
  for (let b = 0; b < batch; b++) {
    for (let o = 0; o < outChannels; o++) {
      for (let row = 0; row < outHeight; row++) {
        for (let col = 0; col < outWidth; col++) {
          const y = ((b * outChannels + o) * outHeight + row) * outWidth + col
          for (let i = 0; i < inGroup; i++) {
            const plane = b * inChannels + Math.floor(o / outGroup) * inGroup + i
            for (let kr = 0; kr < kernelHeight; kr++) {
              for (let kc = 0; kc < kernelWidth; kc++) {
                const inRow = row * strideHeight - paddingHeight + kr * dilationHeight
                const inCol = col * strideWidth - paddingWidth + kc * dilationWidth
                if (inRow < 0 || inRow >= inHeight || inCol < 0 || inCol >= inWidth) continue
                visit(
                  (plane * inHeight + inRow) * inWidth + inCol,
                  ((o * inGroup + i) * kernelHeight + kr) * kernelWidth + kc,
                  y,
                )
              }
            }
          }
        }
      }
    }
  }
}
