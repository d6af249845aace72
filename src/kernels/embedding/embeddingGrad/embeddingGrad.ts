/**
 * dtable[v,:] = Σ dy[i,:] over all i with ids[i] = v, the gradient of `embedding` by its table.
 * @param ids [count] int32, each below vocabulary
 * @param dy [count, cols] float32
 * @param dtable [vocabulary, cols] float32
 */
export function embeddingGrad(
  ids: Int32Array,
  dy: Float32Array,
  dtable: Float32Array,
  count: number,
  vocabulary: number,
  cols: number,
): void {
  const sums = new Float64Array(vocabulary * cols)
  for (let i = 0; i < count; i++) for (let c = 0; c < cols; c++) sums[ids[i] * cols + c] += dy[i * cols + c]
  dtable.set(sums)
}
