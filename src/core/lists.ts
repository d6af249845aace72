/** Names that a message lists; the others are counted. */
const namesShown = 4

/** The first names, and how many more there are: `a, b, c, d and 2 more`. */
export function several(names: readonly string[]): string {
  const more = names.length - namesShown
  return names.slice(0, namesShown).join(', ') + (more > 0 ? ` and ${more} more` : '')
}

/** Each of them may be: `a, b or c`. */
export function anyOf(names: readonly string[]): string {
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`
}
