import { type JsonObject, show } from '../../formats/json.ts'
import { type ActivationName, activations } from '../../nn/activations.ts'

/*
 * Fields of a config.json that families share, each with the rule that it must keep.
 */

/** Told what of a config is ignored since it is not sound. */
export type Warn = (message: string) => void

/**
 * The largest size that a field may state, by its name. Larger than any published model, small enough that no
 * product of two overflows: what is above is a broken file.
 */
const limits = {
  hidden_size: 2 ** 20,
  intermediate_size: 2 ** 22,
  ffn_dim: 2 ** 22,
  ffn_hidden_size: 2 ** 22,
  num_layers: 4096,
  num_hidden_layers: 4096,
  num_heads: 2 ** 16,
  num_kv_heads: 2 ** 16,
  num_attention_heads: 2 ** 16,
  num_key_value_heads: 2 ** 16,
  head_dim: 2 ** 16,
  rotary_dim: 2 ** 16,
  vocab_size: 2 ** 24,
  max_position_embeddings: 2 ** 28,
  seq_length: 2 ** 28,
  sliding_window: 2 ** 28,
  num_local_experts: 4096,
  num_experts: 4096,
  num_experts_per_tok: 4096,
  moe_intermediate_size: 2 ** 22,
  shared_expert_intermediate_size: 2 ** 22,
  window_size: 2 ** 28,
  n_embd: 2 ** 20,
  n_embed: 2 ** 20,
  word_embed_proj_dim: 2 ** 20,
  n_inner: 2 ** 22,
  n_layer: 4096,
  n_head: 2 ** 16,
  n_positions: 2 ** 28,
} as const

/**
 * A size above 0 and within its limit; `fallback` where the field is absent or null.
 * @throws FormatError if it is none, or absent without a fallback
 */
export function sizeField(json: JsonObject, key: keyof typeof limits, fallback?: number): number {
  const value = json.positiveInteger(key, fallback)
  if (value <= limits[key]) return value
  throw json.error(key, `must be at most ${limits[key]}`)
}

/** The hidden size of the families that called it `n_embed`, which wins. */
export function hiddenSizeField(json: JsonObject): number {
  return sizeField(json, json.has('n_embed') ? 'n_embed' : 'hidden_size')
}

/** Whether the config.json says null: other than an absent field, that is none. */
export function isNull(json: JsonObject, key: string): boolean {
  return json.keys().includes(key) && !json.has(key)
}

/**
 * The values of a head where heads share a hidden size.
 * @param key the field that counts the heads
 * @throws FormatError unless they divide it
 */
export function headSizeOf(json: JsonObject, key: string, hiddenSize: number, heads: number): number {
  if (hiddenSize % heads === 0) return hiddenSize / heads
  throw json.error(key, `must divide the hidden size (${hiddenSize})`)
}

/** A number above 0. */
export function positiveField(json: JsonObject, key: string, fallback?: number): number {
  const value = json.number(key, fallback)
  if (value > 0) return value
  throw json.error(key, 'must be above 0')
}

/**
 * One of several words.
 * @throws FormatError if the field holds another
 */
export function wordField<W extends string>(
  json: JsonObject,
  key: string,
  words: readonly W[],
  fallback?: W,
): W {
  const value = json.string(key, fallback)
  const word = words.find((known) => known === value)
  if (word !== undefined) return word
  const listed = words.length === 1 ? JSON.stringify(words[0]) : words.join(', ')
  throw json.error(key, `must be ${listed}`)
}

/**
 * The name of an activation.
 * @throws FormatError if none is called so
 */
export function activationField(json: JsonObject, key: string, fallback?: ActivationName): ActivationName {
  return wordField(json, key, Object.keys(activations) as ActivationName[], fallback)
}

/**
 * Whether an activation is a gelu, exact or approximated: llama.cpp has one for both, the approximation by
 * tanh.
 */
export function isGelu(activation: ActivationName): boolean {
  return activation.startsWith('gelu') && activation !== 'gelu_10'
}

/**
 * The token ids of a field that holds one, a list of them, or none.
 * @param warn is told of those that are no ids of the vocabulary, which no text can hold
 */
export function tokenIdsField(json: JsonObject, key: string, vocabularySize: number, warn: Warn): number[] {
  const value = json.get(key) ?? []
  const listed: unknown[] = Array.isArray(value) ? value : [value]
  const isId = (id: unknown): id is number =>
    Number.isInteger(id) && Number(id) >= 0 && Number(id) < vocabularySize
  const strange = listed.filter((id) => !isId(id))
  if (strange.length > 0) {
    const rule = `${key} must hold ids below the vocabulary's size (${vocabularySize})`
    warn(`${json.name}: ${rule}; ignored: ${show(strange)}`)
  }
  return listed.filter(isId)
}
