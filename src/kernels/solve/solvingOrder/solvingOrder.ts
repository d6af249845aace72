/** In which order columns are solved; by their numbers in the kernels' ABI. */
export const orderRules = { none: 0, descending: 1, groups: 2 } as const
export type OrderRule = keyof typeof orderRules

/**
 * The order in which the columns of a weight are solved: as they are, by the diagonal of h descending, or by
 * it descending within each group, groups by their largest. Equal ones stay in their order; a diagonal of 0
 * counts as 1, as that of a column without inputs does later on.
 * Source: GPTQModel 7.7, quantization/gptq.py, `desc_act`; quantization/gar.py.
 * @param h [cols, cols] float32
 * @param order [cols] int32: the column that is solved as i-th
 * @param places [cols] int32, its inverse: as how many-th a column is solved
 * @param rule one of `orderRules`
 * @param groupSize columns of a group, of the rule `groups`; a last group of fewer is solved last
 */
export function solvingOrder(
  h: Float32Array,
  order: Int32Array,
  places: Int32Array,
  rule: number,
  groupSize: number,
  cols: number,
): void {
  const diagonal = Float32Array.from({ length: cols }, (_, i) => h[i * (cols + 1)] || 1)
  const columns = Array.from({ length: cols }, (_, i) => i)
  const byDiagonal = (a: number, b: number) => diagonal[b] - diagonal[a]
  if (rule === orderRules.descending) columns.sort(byDiagonal)
  if (rule === orderRules.groups) {
    const whole = cols - (cols % groupSize)
    const groups: number[][] = []
    for (let first = 0; first < whole; first += groupSize)
      groups.push(columns.slice(first, first + groupSize).sort(byDiagonal))
    groups.sort(([a], [b]) => byDiagonal(a, b))
    columns.splice(0, whole, ...groups.flat())
  }
  order.set(columns)
  for (const [i, column] of columns.entries()) places[column] = i
}
