// What the first part of the page shows: two cards, a sentence, a bar for each weight matrix, and a table of
// all that was tried.
import { at, percent, size, whole } from './page.ts'

/** What was measured of a model. */
export interface Measured {
  story: string
  bytes: number
  perplexity: number
  tokensPerSecond: number
  /** Share of the tokens at which the float model would guess the same. */
  top1Agreement?: number
}

type Value = 'perplexity' | 'memory' | 'speed'

/** One of the two models: its story, and three numbers. */
export class Card {
  private readonly element: HTMLElement

  constructor(id: 'float' | 'quantized') {
    this.element = at(id)
  }

  /** Forgets what was shown. */
  clear(title: string, start: string, placeholder = '…'): void {
    this.part('h3').textContent = title
    this.part('b').textContent = start
    this.part('span').textContent = ''
    for (const value of this.element.getElementsByTagName('dd')) value.textContent = placeholder
  }

  show(what: Value, value: string): void {
    this.element.getElementsByClassName(what)[0].textContent = value
  }

  /** The story; from the word on where it departs from the other, it is marked. */
  tell(story: string, other = story): void {
    let same = 0
    while (same < story.length && story[same] === other[same]) same++
    if (same < story.length) same = story.lastIndexOf(' ', same) + 1
    const rest = Object.assign(document.createElement('mark'), { textContent: story.slice(same) })
    this.part('span').replaceChildren(story.slice(0, same), ...(same < story.length ? [rest] : []))
  }

  private part(tag: string): Element {
    return this.element.getElementsByTagName(tag)[0]
  }
}

/** What the weights cost and spare, in a sentence or two. */
export function summarize(weights: string, before: Measured, after: Measured): void {
  const change = after.perplexity / before.perplexity - 1
  const changed =
    change >= 1
      ? `${whole(change + 1)} times as much`
      : `${change < 0 ? '−' : '+'}${percent(Math.abs(change))}`
  at('summary').textContent =
    `${weights} takes ${(before.bytes / after.bytes).toFixed(1)} times less memory. Perplexity goes from ${before.perplexity.toFixed(3)} ` +
    `to ${after.perplexity.toFixed(3)} (${changed}), and ${percent(after.top1Agreement ?? 0)} of all guesses at the next token stay the same.`
}

/**
 * A bar for each weight matrix.
 * @param paths of all, in the order of the model
 * @param errors of those that are quantized, by path
 */
export function showErrors(paths: string[], errors: ReadonlyMap<string, number>): void {
  const largest = Math.max(...errors.values())
  const bars = paths.map((path) => {
    const error = errors.get(path)
    const bar = Object.assign(document.createElement('span'), {
      title: `${path}: ${error === undefined ? 'float32' : percent(error)}`,
    })
    bar.style.setProperty('--share', String((error ?? 0) / largest))
    return bar
  })
  const worst = [...errors.keys()].find((path) => errors.get(path) === largest)
  at('worst').textContent = `${percent(largest)} (${worst})`
  at('errors').replaceChildren(...bars)
}

/** A row of the table, in the place of an earlier one with the same settings. */
export function addRow(
  weights: string,
  kept: string,
  { bytes, perplexity, top1Agreement = 1, tokensPerSecond }: Measured,
): void {
  const rows = at('report').getElementsByTagName('tbody')[0]
  const cells = [
    weights,
    kept,
    size(bytes),
    perplexity.toFixed(3),
    percent(top1Agreement),
    whole(tokensPerSecond),
  ]
  const known = [...rows.rows].find(
    ({ cells: [first, second] }) => first.textContent === weights && second.textContent === kept,
  )
  const row = known ?? rows.insertRow()
  row.replaceChildren(
    ...cells.map((textContent) => Object.assign(document.createElement('td'), { textContent })),
  )
  for (const other of rows.rows) other.ariaCurrent = other === row ? 'true' : null
}
