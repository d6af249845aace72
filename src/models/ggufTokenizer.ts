import { FormatError } from '../core/errors.ts'
import type { GgufMetadata } from '../formats/ggufMetadata.ts'
import { show } from '../formats/json.ts'
import { llama3Names, preTokenizers } from './ggufPreTokenizers.ts'
import { ggufTokenId, tokenTypes } from './ggufTokens.ts'

/*
 * A GGUF file holds a tokenizer's data, not its rules: those are chosen by name, and written out here as a
 * tokenizer.json.
 * Source: llama.cpp, src/llama-vocab.cpp; transformers, integrations/gguf/gguf_tokenizer_mapping.py.
 */

/**
 * SentencePiece's default is 16, the longest runs of spaces in use have some 60: what is longer is no piece,
 * and slow to take apart.
 */
const maxPieceLength = 256

/** The Hugging Face files that say the same as the metadata. */
export interface HuggingFaceTokenizer {
  /**
   * tokenizer.json, made anew: for 50,000 tokens a tenth of a second and 25 MB.
   * @throws FormatError if its parts do not fit each other
   */
  tokenizer(): Record<string, unknown>
  /** tokenizer_config.json */
  config: Record<string, unknown>
  /** How many tokens there are. */
  vocabularySize: number
}

/**
 * The tokenizer of a GGUF file in Hugging Face's format: byte-level BPE (`gpt2`) or SentencePiece BPE
 * (`llama`); null if it has none.
 * @param warn is told of special tokens that it does not have, which are ignored
 * @throws FormatError if it is of another kind
 */
export function ggufTokenizer(
  metadata: GgufMetadata,
  warn: (message: string) => void = () => {},
): HuggingFaceTokenizer | null {
  const kind = metadata.string('tokenizer.ggml.model', 'none')
  if (kind === 'none' || kind === 'no_vocab') return null
  if (kind !== 'gpt2' && kind !== 'llama')
    throw metadata.error('tokenizer.ggml.model', 'must be "gpt2" or "llama"')
  const preTokenizer = metadata.string('tokenizer.ggml.pre', 'default')
  if (kind === 'gpt2' && !preTokenizers.has(preTokenizer)) {
    throw metadata.error('tokenizer.ggml.pre', `must be one of ${[...preTokenizers.keys()].join(', ')}`)
  }
  const vocabularySize = metadata.listLength('tokenizer.ggml.tokens')
  const special = (name: string) => ggufTokenId(metadata, name, vocabularySize, warn)
  const ids = { bos: special('bos'), eos: special('eos'), unk: special('unknown'), pad: special('padding') }
  const adds = {
    bos: metadata.boolean(
      'tokenizer.ggml.add_bos_token',
      kind === 'llama' || llama3Names.includes(preTokenizer),
    ),
    eos: metadata.boolean('tokenizer.ggml.add_eos_token', false),
  }
  const config: Record<string, unknown> = {
    tokenizer_class: 'PreTrainedTokenizerFast',
    clean_up_tokenization_spaces: false,
  }
  for (const [name, id] of Object.entries(ids)) {
    if (id !== null) config[`${name}_token`] = nameOf(metadata.stringAt('tokenizer.ggml.tokens', id), id)
  }
  if (metadata.has('tokenizer.chat_template'))
    config.chat_template = metadata.string('tokenizer.chat_template')
  const context = `${metadata.string('general.architecture', 'none')}.context_length`
  if (metadata.has(context)) config.model_max_length = metadata.positiveInteger(context)
  const tokenizer = () => {
    const vocabulary = readVocabulary(metadata)
    const { tokens, types } = vocabulary
    const added = tokens.flatMap((content, id) => {
      const isSpecial = types[id] === tokenTypes.control || types[id] === tokenTypes.unknown
      if (!isSpecial && types[id] !== tokenTypes.userDefined) return []
      return [
        {
          id,
          content,
          single_word: false,
          lstrip: false,
          rstrip: false,
          normalized: false,
          special: isSpecial,
        },
      ]
    })
    const content = (id: number | null) => (id === null ? null : tokens[id])
    return {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: added,
      ...(kind === 'gpt2'
        ? byteLevel(metadata, vocabulary, preTokenizer)
        : sentencePiece(metadata, vocabulary, content(ids.unk))),
      post_processor: template(
        vocabulary,
        adds.bos ? content(ids.bos) : null,
        adds.eos ? content(ids.eos) : null,
      ),
    }
  }
  return { tokenizer, config, vocabularySize }
}

/** llama.cpp gives tokens without text a name too. */
function nameOf(token: string, id: number): string {
  return token || `[EMPTY_${id}]`
}

interface Vocabulary {
  tokens: string[]
  types: number[]
  ids: Map<string, number>
}

function readVocabulary(metadata: GgufMetadata): Vocabulary {
  const tokens = metadata.strings('tokenizer.ggml.tokens').map(nameOf)
  const types = metadata.has('tokenizer.ggml.token_type')
    ? metadata.numbers('tokenizer.ggml.token_type')
    : tokens.map(() => tokenTypes.normal)
  if (types.length !== tokens.length)
    throw metadata.error(
      'tokenizer.ggml.token_type',
      `must have as many elements as there are tokens (${tokens.length})`,
    )
  const ids = new Map<string, number>()
  for (const [id, token] of tokens.entries()) ids.set(token, id)
  if (ids.size < tokens.length) {
    const id = tokens.findIndex((token, i) => ids.get(token) !== i)
    throw metadata.error(
      'tokenizer.ggml.tokens',
      `must differ from each other; ${show(tokens[id])} is token ${id} and ${ids.get(tokens[id])}`,
    )
  }
  return { tokens, types, ids }
}

/** Tokens spell bytes as GPT-2 does; merges are listed best first. */
function byteLevel(
  metadata: GgufMetadata,
  { ids }: Vocabulary,
  preTokenizer: string,
): Record<string, unknown> {
  const merges = metadata.strings('tokenizer.ggml.merges').map((merge, i) => {
    const pair = merge.split(' ')
    if (pair.length === 2 && pair[0] !== '' && pair[1] !== '') return pair
    throw metadata.error(
      'tokenizer.ggml.merges',
      `must be pairs with a space between; number ${i} is ${show(merge)}`,
    )
  })
  return {
    normalizer: null,
    pre_tokenizer: preTokenizers.get(preTokenizer),
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: bpe(ids, merges, { ignore_merges: llama3Names.includes(preTokenizer) }),
  }
}

/** Tokens spell text, `▁` for a space; what no token spells becomes bytes. Merges follow from the scores. */
function sentencePiece(
  metadata: GgufMetadata,
  vocabulary: Vocabulary,
  unknown: string | null,
): Record<string, unknown> {
  const scores = metadata.numbers('tokenizer.ggml.scores')
  if (scores.length !== vocabulary.tokens.length) {
    throw metadata.error(
      'tokenizer.ggml.scores',
      `must have as many elements as there are tokens (${vocabulary.tokens.length})`,
    )
  }
  const spaces = { type: 'Replace', pattern: { String: ' ' }, content: '▁' }
  const prefix = metadata.boolean('tokenizer.ggml.add_space_prefix', true)
  const decoders: object[] = [
    { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
    { type: 'ByteFallback' },
    { type: 'Fuse' },
  ]
  if (prefix) decoders.push({ type: 'Strip', content: ' ', start: 1, stop: 0 })
  return {
    normalizer: prefix
      ? { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, spaces] }
      : spaces,
    pre_tokenizer: null,
    decoder: { type: 'Sequence', decoders },
    model: bpe(vocabulary.ids, mergesByScore(metadata, vocabulary, scores), {
      unk_token: unknown,
      fuse_unk: true,
      byte_fallback: true,
    }),
  }
}

function bpe(
  ids: Map<string, number>,
  merges: string[][],
  options: Record<string, unknown>,
): Record<string, unknown> {
  // Not Object.fromEntries: some 50,000 pairs would have to be collected again.
  const vocab: Record<string, number> = Object.create(null)
  for (const [token, id] of ids) vocab[token] = id
  return {
    type: 'BPE',
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
    ...options,
    vocab,
    merges,
  }
}

/**
 * Every way to make a token of two others, the token of the highest score first: SentencePiece's order.
 * Source: transformers, tokenization_utils_base.py, generate_merges.
 */
function mergesByScore({ name }: GgufMetadata, { tokens, types }: Vocabulary, scores: number[]): string[][] {
  const isPiece = (id: number) =>
    types[id] === tokenTypes.normal || types[id] === tokenTypes.userDefined || types[id] === tokenTypes.unused
  const pieces = new Set(tokens.filter((_, id) => isPiece(id)))
  const merges: { pair: [string, string]; score: number }[] = []
  for (const [id, token] of tokens.entries()) {
    if (!isPiece(id)) continue
    if (token.length > maxPieceLength)
      throw new FormatError(
        `${name}: tokens must have at most ${maxPieceLength} characters; token ${id} has ${token.length}`,
      )
    for (let cut = token.length - 1; cut > 0; cut--) {
      const pair: [string, string] = [token.slice(0, cut), token.slice(cut)]
      if (pieces.has(pair[0]) && pieces.has(pair[1])) merges.push({ pair, score: scores[id] })
    }
  }
  return merges
    .sort(
      (a, b) =>
        b.score - a.score || b.pair[0].length - a.pair[0].length || b.pair[1].length - a.pair[1].length,
    )
    .map(({ pair }) => pair)
}

/** What is put around a text; null where nothing is. */
function template({ ids }: Vocabulary, bos: string | null, eos: string | null): object | null {
  if (bos === null && eos === null) return null
  const text = (id: 'A' | 'B') => {
    const token = (content: string | null) =>
      content === null ? [] : [{ SpecialToken: { id: content, type_id: 0 } }]
    return [...token(bos), { Sequence: { id, type_id: 0 } }, ...token(eos)]
  }
  const used = [bos, eos].filter((token) => token !== null)
  const special_tokens = Object.fromEntries(
    used.map((token) => [token, { id: token, ids: [ids.get(token)], tokens: [token] }]),
  )
  return { type: 'TemplateProcessing', single: text('A'), pair: [...text('A'), ...text('B')], special_tokens }
}
