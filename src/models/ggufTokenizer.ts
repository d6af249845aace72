import type { GgufMetadata } from '../formats/ggufMetadata.ts'
import { show } from '../formats/json.ts'
import { preTokenizers, wholeWordNames } from './ggufPreTokenizers.ts'
import { ggufTokenId, tokenTypes } from './ggufTokens.ts'
import { MergeTable } from './tokenization/mergeTable.ts'
import {
  addedPieces,
  bpe,
  joinedPieces,
  type PieceVocabulary,
  surrounding,
} from './tokenization/sentencePiece.ts'
import { TokenTable } from './tokenization/tokenTable.ts'
import { strangerError, type TokenizerParts } from './tokenization/vocabulary.ts'

/*
 * A GGUF file holds a tokenizer's data, not its rules: those are chosen by name, and written out here as a
 * tokenizer.json.
 * Source: llama.cpp, src/llama-vocab.cpp; transformers, integrations/gguf/gguf_tokenizer_mapping.py.
 */

/** The Hugging Face files that say the same as the metadata. */
export interface HuggingFaceTokenizer {
  /**
   * tokenizer.json, made anew: for 50,000 tokens a tenth of a second and 25 MB.
   * @throws FormatError if its parts do not fit each other
   */
  tokenizer(): Record<string, unknown>
  /** The same, with its vocabulary beside it, which need not be read from it; made in steps. */
  parts(): Generator<void, TokenizerParts>
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
      kind === 'llama' || wholeWordNames.includes(preTokenizer),
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
  const parts = function* (): Generator<void, TokenizerParts> {
    const vocabulary = yield* readVocabulary(metadata)
    const { tokens, tokenOf } = vocabulary
    const token = (id: number | null, adds: boolean) =>
      id === null || !adds ? null : { id, content: tokenOf(id) as string }
    const merges = kind === 'gpt2' ? yield* listedMerges(metadata, tokens) : undefined
    const added = addedPieces(vocabulary)
    const json = {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: added,
      ...(merges
        ? byteLevel(tokens, metadata, preTokenizer)
        : joinedPieces(vocabulary, {
            scores: readScores(metadata, tokens.size),
            addsPrefix: metadata.boolean('tokenizer.ggml.add_space_prefix', true),
            unknownId: ids.unk,
          })),
      post_processor: surrounding(token(ids.bos, adds.bos), token(ids.eos, adds.eos)),
    }
    return { json, vocabulary: { ids: tokens, tokenOf, added, size: vocabularySize, merges } }
  }
  const tokenizer = () => {
    const { json } = drained(parts())
    // Reads what is made when it is asked for.
    return { ...json, model: { ...json.model } }
  }
  return { tokenizer, parts, config, vocabularySize }
}

/** What a generator gives in the end. */
function drained<T>(steps: Generator<void, T>): T {
  for (;;) {
    const { done, value } = steps.next()
    if (done) return value
  }
}

/** llama.cpp gives tokens without text a name too. */
function nameOf(token: string, id: number): string {
  return token || `[EMPTY_${id}]`
}

function* readVocabulary(metadata: GgufMetadata): Generator<void, PieceVocabulary & { tokens: TokenTable }> {
  const key = 'tokenizer.ggml.tokens'
  const strings = metadata.byteStrings(key, (id) => nameOf('', id))
  yield
  const tokens = yield* TokenTable.inSteps(strings, (token, first, second) =>
    metadata.error(key, `must differ from each other; ${show(token)} is token ${first} and ${second}`),
  )
  yield
  const types = metadata.has('tokenizer.ggml.token_type')
    ? metadata.numbers('tokenizer.ggml.token_type')
    : new Array<number>(tokens.size).fill(tokenTypes.normal)
  if (types.length !== tokens.size)
    throw metadata.error(
      'tokenizer.ggml.token_type',
      `must have as many elements as there are tokens (${tokens.size})`,
    )
  return { name: metadata.name, tokens, tokenOf: (id) => tokens.tokenOf(id), types }
}

const mergesKey = 'tokenizer.ggml.merges'

/** Merges that are made in one step. */
const mergesTogether = 2 ** 13

/** Merges as they are listed, by their bytes: half a million of them would take long as strings. */
function* listedMerges(metadata: GgufMetadata, tokens: TokenTable): Generator<void, MergeTable> {
  const { bytes, ends } = metadata.byteStrings(mergesKey)
  const table = new MergeTable(ends.length)
  // They mostly stand in the order of what they make.
  let next = 0
  const add = (number: number) => {
    const start = number === 0 ? 0 : ends[number - 1]
    const end = ends[number]
    const space = spaceIn(bytes, start, end)
    const left = space < 0 ? -1 : tokens.idAt(bytes, start, space)
    const right = space < 0 ? -1 : tokens.idAt(bytes, space + 1, end)
    const result = space < 0 ? -1 : tokens.joinedAt(bytes, start, space, end, next)
    if (left < 0 || right < 0 || result < 0) {
      const merge = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.subarray(start, end))
      throw strangerError(metadata.name, tokens, number, pairOf(metadata, merge, number))
    }
    table.set(left, right, number, result)
    next = result + 1
  }
  for (let first = 0; first < ends.length; first += mergesTogether) {
    yield
    const last = Math.min(first + mergesTogether, ends.length)
    for (let number = first; number < last; number++) add(number)
  }
  return table
}

/** Where the one space stands that is neither the first nor the last of the bytes; −1 if there is none. */
function spaceIn(bytes: Uint8Array, start: number, end: number): number {
  let space = -1
  for (let at = start; at < end; at++) {
    if (bytes[at] !== 0x20) continue
    if (space >= 0) return -1
    space = at
  }
  return space > start && space < end - 1 ? space : -1
}

/** @throws FormatError if it is no pair */
function pairOf(metadata: GgufMetadata, merge: string, number: number): [string, string] {
  const [first, second, ...more] = merge.split(' ')
  if (first && second && more.length === 0) return [first, second]
  throw metadata.error(mergesKey, `must be pairs with a space between; number ${number} is ${show(merge)}`)
}

/** Tokens spell bytes as GPT-2 does. */
function byteLevel(tokens: TokenTable, metadata: GgufMetadata, preTokenizer: string) {
  const merges = () => metadata.strings(mergesKey).map((merge, number) => pairOf(metadata, merge, number))
  return {
    normalizer: null,
    pre_tokenizer: preTokenizers.get(preTokenizer),
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: bpe(tokens, merges, { ignore_merges: wholeWordNames.includes(preTokenizer) }),
  }
}

function readScores(metadata: GgufMetadata, count: number): number[] {
  const scores = metadata.numbers('tokenizer.ggml.scores')
  if (scores.length === count) return scores
  throw metadata.error('tokenizer.ggml.scores', `must have as many elements as there are tokens (${count})`)
}
