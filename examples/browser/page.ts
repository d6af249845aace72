// What all parts of the page need: its elements, numbers as people read them, and what went wrong as a
// sentence.

/** The element with an id. */
export function at<E extends HTMLElement = HTMLElement>(id: string): E {
  return document.getElementById(id) as E
}

/** Bytes as kB or MB. */
export function size(bytes: number): string {
  const [divisor, unit] = bytes < 1e7 ? [1e3, 'kB'] : [1e6, 'MB']
  return `${whole(bytes / divisor)} ${unit}`
}

/** A number without decimals, its thousands apart. */
export function whole(value: number): string {
  return Math.round(value).toLocaleString('en')
}

/** A share as a percentage with one decimal. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`
}

/** Shows in the element `id` what went wrong, or hides it where nothing did. */
export function showError(id: string, failure?: unknown): void {
  const element = at(id)
  element.hidden = failure === undefined
  element.textContent = failure instanceof Error ? failure.message : String(failure ?? '')
}
