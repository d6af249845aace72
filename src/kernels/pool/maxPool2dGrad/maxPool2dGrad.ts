/**
 * dx[indices[o]] = Σ dy[o] within each plane, 0 elsewhere: the gradient of `maxPool2d`.
 * @param indices [planes, outSize] int32; −1 for an empty window
 * @param dy [planes, outSize] float32
 * @param dx [planes, inSize] float32
 */
export function maxPool2dGrad(
  indices: Int32Array,
  dy: Float32Array,
  dx: Float32Array,
  planes: number,
  inSize: number,
  outSize: number,
): void {
  const sums = new Float64Array(planes * inSize)
  for (let o = 0; o < planes * outSize; o++)
    if (indices[o] >= 0) sums[Math.floor(o / outSize) * inSize + indices[o]] += dy[o]
  dx.set(sums)
}
