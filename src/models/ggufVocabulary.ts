import { isObject } from '../core/kinds.ts'
import type { GgufValue } from '../formats/ggufWriter.ts'
import { type JsonObject, show } from '../formats/json.ts'
import { preTokenizerName } from './ggufPreTokenizers.ts'
import { tokenTypes } from './ggufTokens.ts'
import { addedTokens, readVocabulary } from './tokenization/vocabulary.ts'

/*
 * A tokenizer.json as the metadata that llama.cpp makes its own tokenizer of; ggufTokenizer.ts is the
 * inverse.
 * Source: llama.cpp, convert_hf_to_gguf.py and src/llama-vocab.cpp.
 */

/** What is said of a tokenizer beside its tokenizer.json. */
export interface TokenizerSettings {
  /** tokenizer_config.json */
  readonly config: Readonly<Record<string, unknown>>
  /** config.json, whose ids count where the other names no token. */
  readonly modelConfig: Readonly<Record<string, unknown>>
  /** Rows of the embedding; those without a token are filled up. */
  readonly vocabularySize: number
}

/** The special tokens by their names in tokenizer_config.json, and in the metadata. */
const specialNames = { bos: 'bos', eos: 'eos', unk: 'unknown', pad: 'padding' } as const

/**
 * The metadata `tokenizer.…` of a tokenizer.json.
 * @throws FormatError if llama.cpp has no such tokenizer
 */
export function vocabularyEntries(tokenizer: JsonObject, settings: TokenizerSettings): [string, GgufValue][] {
  const model = tokenizer.object('model')
  if (model.string('type', 'BPE') !== 'BPE') throw model.error('type', 'must be "BPE", to be in a GGUF file')
  const pieces = model.boolean('byte_fallback', false)
  const { ids, count } = idsOf(tokenizer)
  const tokens = tokensOf(tokenizer, ids, Math.max(settings.vocabularySize, count))
  const merges = mergesOf(model)
  const entries: [string, GgufValue][] = [
    ['tokenizer.ggml.model', { type: 'string', value: pieces ? 'llama' : 'gpt2' }],
    ['tokenizer.ggml.pre', { type: 'string', value: pieces ? 'default' : ruleOf(tokenizer) }],
    ['tokenizer.ggml.tokens', { type: 'string', values: tokens.map(({ text }) => text) }],
  ]
  if (pieces) entries.push(['tokenizer.ggml.scores', { type: 'float32', values: scoresOf(tokens, merges) }])
  entries.push(['tokenizer.ggml.token_type', { type: 'int32', values: tokens.map(({ type }) => type) }])
  if (!pieces)
    entries.push(['tokenizer.ggml.merges', { type: 'string', values: merges.map((pair) => pair.join(' ')) }])
  entries.push(...specialEntries(ids, settings))
  const around = addedAround(tokenizer)
  entries.push(['tokenizer.ggml.add_bos_token', { type: 'bool', value: around.before }])
  entries.push(['tokenizer.ggml.add_eos_token', { type: 'bool', value: around.behind }])
  if (pieces)
    entries.push(['tokenizer.ggml.add_space_prefix', { type: 'bool', value: prependsSpace(tokenizer) }])
  const template = chatTemplate(settings.config.chat_template)
  if (template !== null) entries.push(['tokenizer.chat_template', { type: 'string', value: template }])
  return entries
}

/** What a file says of a tokenizer that it does not hold. */
export function withoutVocabulary(settings: TokenizerSettings): [string, GgufValue][] {
  return [
    ['tokenizer.ggml.model', { type: 'string', value: 'no_vocab' }],
    ...specialEntries(new Map(), settings),
  ]
}

/** The ids of special tokens. */
function specialEntries(
  ids: ReadonlyMap<string, number>,
  { config, modelConfig }: TokenizerSettings,
): [string, GgufValue][] {
  return Object.entries(specialNames).flatMap(([name, key]) => {
    const token = config[`${name}_token`]
    const text = isObject(token) ? token.content : token
    const id = ids.get(String(text)) ?? [modelConfig[`${name}_token_id`]].flat()[0]
    return typeof id === 'number' ? [[`tokenizer.ggml.${key}_token_id`, { type: 'uint32', value: id }]] : []
  })
}

/** The id of every token by its text. */
function idsOf(tokenizer: JsonObject): { ids: ReadonlyMap<string, number>; count: number } {
  const { ids, added, size } = readVocabulary(tokenizer)
  const own = added.map(({ content, id }) => [content, id] as const)
  return { ids: new Map([...ids, ...own]), count: size }
}

interface Token {
  readonly text: string
  readonly type: number
}

/** Every token by its id; ids that no text has are unused. */
function tokensOf(tokenizer: JsonObject, ids: ReadonlyMap<string, number>, size: number): Token[] {
  const model = tokenizer.object('model')
  const unknown = ids.get(model.string('unk_token', ''))
  const bytes = model.boolean('byte_fallback', false)
  const added = new Map(addedTokens(tokenizer).map((token) => [token.id, token]))
  const texts = new Map([...ids].map(([text, id]) => [id, text]))
  return Array.from({ length: size }, (_, id) => {
    const text = texts.get(id)
    if (text === undefined) return { text: `[PAD${id}]`, type: tokenTypes.unused }
    if (bytes && id === unknown) return { text, type: tokenTypes.unknown }
    const token = added.get(id)
    if (token) return { text, type: token.special ? tokenTypes.control : tokenTypes.userDefined }
    const isByte = bytes && /^<0x[0-9A-Fa-f]{2}>$/.test(text)
    return { text, type: isByte ? tokenTypes.byte : tokenTypes.normal }
  })
}

function mergesOf(model: JsonObject): [string, string][] {
  const merges: unknown = model.get('merges')
  if (!Array.isArray(merges)) throw model.error('merges', 'must be a list')
  return merges.map((merge, i) => {
    const pair: unknown = typeof merge === 'string' ? merge.split(' ') : merge
    if (Array.isArray(pair) && pair.length === 2) return pair as [string, string]
    throw model.error('merges', `must be pairs of tokens; number ${i} is ${show(merge)}`)
  })
}

/**
 * Scores that say the same as the merges: minus the place of a piece in the order in which pieces are made;
 * those that no merge makes come behind.
 */
function scoresOf(tokens: readonly Token[], merges: readonly (readonly [string, string])[]): number[] {
  const made = new Set(merges.map(([left, right]) => left + right))
  const isPiece = ({ type }: Token) => type === tokenTypes.normal || type === tokenTypes.userDefined
  const others = tokens.filter((token) => isPiece(token) && !made.has(token.text)).map(({ text }) => text)
  const places = new Map([...made, ...others].map((text, place) => [text, place]))
  return tokens.map((token) => (isPiece(token) ? -(places.get(token.text) ?? 0) : 0))
}

/** The name of the rule by which text is cut before merging. */
function ruleOf(tokenizer: JsonObject): string {
  const name = preTokenizerName(tokenizer.get('pre_tokenizer'))
  if (name !== null) return name
  throw tokenizer.error('pre_tokenizer', 'must be a rule that llama.cpp has a name for')
}

/** Whether the post-processor puts a special token before a text, and behind it. */
function addedAround(tokenizer: JsonObject): { before: boolean; behind: boolean } {
  const given: unknown = tokenizer.get('post_processor')
  const steps = isObject(given) && Array.isArray(given.processors) ? given.processors : [given]
  const template = steps.find((step) => isObject(step) && step.type === 'TemplateProcessing')
  const single: unknown[] = isObject(template) && Array.isArray(template.single) ? template.single : []
  const isSpecial = (part: unknown) => isObject(part) && isObject(part.SpecialToken)
  return { before: isSpecial(single.at(0)), behind: isSpecial(single.at(-1)) }
}

/** Whether a space is put before a text, which stands for a `▁`. */
function prependsSpace(tokenizer: JsonObject): boolean {
  const prepends = (step: unknown): boolean => {
    if (!isObject(step)) return false
    const inner = [step.normalizers, step.pretokenizers].flat()
    if (step.type === 'Sequence') return inner.some(prepends)
    return step.type === 'Prepend' || (step.type === 'Metaspace' && step.prepend_scheme !== 'never')
  }
  return prepends(tokenizer.get('normalizer')) || prepends(tokenizer.get('pre_tokenizer'))
}

/** Of several templates the one called default. */
function chatTemplate(given: unknown): string | null {
  if (typeof given === 'string') return given
  const named = Array.isArray(given) ? given.find((each) => isObject(each) && each.name === 'default') : null
  return isObject(named) && typeof named.template === 'string' ? named.template : null
}
