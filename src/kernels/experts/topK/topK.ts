/**
 * The k largest values of each row, from the largest on, and their columns; of equals the first comes first,
 * and NaN counts as the largest, as in argmax.
 * @param x [rows, cols] float32
 * @param values [rows, k] float32, may be absent
 * @param indices [rows, k] int32, may be absent
 * @param others [rows, cols] uint8, may be absent: 0 where a value is one of the k, else 1
 * @param k from 1 to cols
 */
export function topK(
  x: Float32Array,
  values: Float32Array | null,
  indices: Int32Array | null,
  others: Uint8Array | null,
  rows: number,
  cols: number,
  k: number,
): void {
  const rank = (value: number) => (Number.isNaN(value) ? Infinity : value)
  const isBefore = (a: number, b: number) =>
    Number.isNaN(a) === Number.isNaN(b) ? rank(a) > rank(b) : Number.isNaN(a)
  for (let r = 0; r < rows; r++) {
    const row = x.subarray(r * cols, (r + 1) * cols)
    const order = Array.from(row, (_, c) => c).sort((a, b) => {
      if (isBefore(row[a], row[b])) return -1
      return isBefore(row[b], row[a]) ? 1 : a - b
    })
    others?.fill(1, r * cols, (r + 1) * cols)
    for (let i = 0; i < k; i++) {
      if (values) values[r * k + i] = row[order[i]]
      if (indices) indices[r * k + i] = order[i]
      if (others) others[r * cols + order[i]] = 0
    }
  }
}
