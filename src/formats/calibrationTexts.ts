/** Texts as they lie in a file: each a text, the messages of a conversation, or token ids. */
export interface CalibrationTexts {
  /** What messages call them. */
  readonly name: string
  readonly texts: readonly (string | readonly unknown[])[]
}
