/** What makes tokens of a word: the `model` of a tokenizer.json. */
export interface TokenModel {
  /** The ids of the tokens that spell a word. */
  tokenIds(word: string): readonly number[]
}
