/**
 * The text of tokens as they come: each piece as soon as no further token can change it, and all pieces
 * together what `decode` gives.
 */
export interface DecodeStream {
  /** What a token adds to the text that was told; '' where it settles none. */
  add(id: number): string
  /** What was held back, once no further token comes. */
  end(): string
}
