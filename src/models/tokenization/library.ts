import type * as Library from '@huggingface/tokenizers'

/** Ids of tokens, and the contents of special ones that are put around them. */
export type Tokens = readonly (number | string)[]

const empty = {
  model: { type: 'BPE', vocab: {}, merges: [] },
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
  decoder: null,
}

/** What is used of the parts that the library makes. */
interface Parts {
  readonly normalizer: ((text: string) => string) | null
  /** A `Split`'s regular expression, in JavaScript's words. */
  readonly pre_tokenizer: { readonly pattern?: RegExp | null } | null
  readonly post_processor:
    | ((tokens: Tokens, pair: null, addSpecialTokens: boolean) => { tokens: Tokens })
    | null
  readonly decoder: { decode_chain(tokens: string[]): string[] } | null
  readonly model: { encode(words: string[]): string[] }
}

/** The library's parts for these of a tokenizer.json, and nothing else. */
export function makeParts(
  library: typeof Library,
  parts: Partial<Record<keyof typeof empty, unknown>>,
): Parts {
  return new library.Tokenizer({ ...empty, ...parts } as never, {}) as unknown as Parts
}
