/** `Title(` the lines, indented, `)`: how PyTorch prints a module. */
export function textBlock(title: string, lines: readonly string[]): string {
  return `${title}(\n${lines.join('\n').replace(/^/gm, '  ')}\n)`
}

/** `(name): text` for each; equal neighbours in a list are one line, `(0-3): 4 x text`. */
export function entryLines(
  entries: Iterable<readonly [name: string, text: string]>,
  isList: boolean,
): string[] {
  const runs: { first: string; last: string; count: number; text: string }[] = []
  for (const [name, text] of entries) {
    const run = runs.at(-1)
    if (isList && run?.text === text) Object.assign(run, { last: name, count: run.count + 1 })
    else runs.push({ first: name, last: name, count: 1, text })
  }
  return runs.map(({ first, last, count, text }) =>
    count === 1 ? `(${first}): ${text}` : `(${first}-${last}): ${count} x ${text}`,
  )
}
