/** The few names closest to `name` by edit distance, closest first, none farther than `limit`. */
export function nearest(
  name: string,
  names: readonly string[],
  { count = 3, limit = Infinity } = {},
): string[] {
  const distances = names.map((other) => [editDistance(name, other), other] as const)
  return distances
    .filter(([distance]) => distance <= limit)
    .sort((a, b) => a[0] - b[0])
    .slice(0, count)
    .map(([, other]) => other)
}

/** How many characters must be inserted, deleted or replaced. Source: Levenshtein, 1966. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1))
    row = next
  }
  return row[b.length]
}
