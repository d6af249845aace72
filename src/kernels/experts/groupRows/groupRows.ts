/**
 * Brings rows that go to several groups each into an order in which every group has its own side by side:
 * entry i = r · perRow + s says that row r goes to group groups[i]; grouped, by group and then by i, it is
 * entry places[i].
 * @param groups [count] int32 from 0 to groupCount − 1, perRow for each row
 * @param rows [count] int32: the row of each grouped entry
 * @param places [count] int32
 * @param bounds [groupCount + 1] int32: the grouped entries of group g are bounds[g] … bounds[g + 1] − 1
 */
export function groupRows(
  groups: Int32Array,
  rows: Int32Array,
  places: Int32Array,
  bounds: Int32Array,
  count: number,
  perRow: number,
  groupCount: number,
): void {
  bounds.fill(0)
  for (let i = 0; i < count; i++) bounds[groups[i] + 1]++
  for (let g = 0; g < groupCount; g++) bounds[g + 1] += bounds[g]
  const next = bounds.slice()
  for (let i = 0; i < count; i++) {
    const place = next[groups[i]]++
    places[i] = place
    rows[place] = Math.floor(i / perRow)
  }
}
