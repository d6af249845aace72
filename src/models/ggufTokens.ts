import type { GgufMetadata } from '../formats/ggufMetadata.ts'

/** Kinds of tokens, as `tokenizer.ggml.token_type` numbers them. */
export const tokenTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const

/**
 * The id of a special token by its name in the metadata, `tokenizer.ggml.NAME_token_id`; null where there is
 * none.
 * @param warn is told of one that is no id of the vocabulary: it is ignored, as llama.cpp does
 */
export function ggufTokenId(
  metadata: GgufMetadata,
  name: string,
  size: number,
  warn?: (message: string) => void,
): number | null {
  const key = `tokenizer.ggml.${name}_token_id`
  if (!metadata.has(key)) return null
  const id = metadata.count(key)
  if (id < size) return id
  warn?.(`${metadata.error(key, `must be below the vocabulary's size (${size})`).message}; it is ignored`)
  return null
}

/**
 * Tokens that end a turn or a text in whatever model has them. Source: llama.cpp, src/llama-vocab.cpp,
 * `special_eog_ids`.
 */
const endOfTurn = new Set([
  '<|eot_id|>',
  '<|im_end|>',
  '<|end|>',
  '<end_of_turn>',
  '<|endoftext|>',
  '</s>',
  '<|eom_id|>',
  '<EOT>',
  '_<EOT>',
  '[EOT]',
  '[EOS]',
  '<|end_of_text|>',
  '<end_of_utterance>',
  '<eos>',
  '<｜end▁of▁sentence｜>',
])

/**
 * The ids of tokens that end a turn, found by their text: early converters named only one of them in the
 * metadata.
 */
export function endOfTurnIds(metadata: GgufMetadata): number[] {
  if (!metadata.has('tokenizer.ggml.tokens')) return []
  return metadata.indicesOf('tokenizer.ggml.tokens', endOfTurn)
}
