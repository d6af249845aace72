import type { GgufMetadata } from '../formats/ggufMetadata.ts'
import { show } from '../formats/json.ts'
import { preTokenizers, wholeWordNames } from './ggufPreTokenizers.ts'
import { ggufTokenId, tokenTypes } from './ggufTokens.ts'
import {
  addedPieces,
  bpe,
  joinedPieces,
  type PieceVocabulary,
  surrounding,
} from './tokenization/sentencePiece.ts'
import type { Merges, TokenizerParts, Vocabulary } from './tokenization/vocabulary.ts'

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
  /** The same, with its vocabulary beside it, which need not be read from it. */
  parts(): TokenizerParts
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
  const parts = () => {
    const vocabulary = readVocabulary(metadata)
    const token = (id: number | null, adds: boolean) =>
      id === null || !adds ? null : { id, content: vocabulary.tokens[id] }
    const added = addedPieces(vocabulary)
    const merges = kind === 'gpt2' ? listedMerges(metadata) : undefined
    const json = {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: added,
      ...(merges
        ? byteLevel(vocabulary, merges, preTokenizer)
        : joinedPieces(vocabulary, {
            scores: readScores(metadata, vocabulary.tokens.length),
            addsPrefix: metadata.boolean('tokenizer.ggml.add_space_prefix', true),
            unknownId: ids.unk,
          })),
      post_processor: surrounding(token(ids.bos, adds.bos), token(ids.eos, adds.eos)),
    }
    return { json, vocabulary: { ids: vocabulary.ids, added, size: vocabularySize, merges } }
  }
  const tokenizer = () => {
    const { json } = parts()
    // Reads what is made when it is asked for.
    return { ...json, model: { ...json.model } }
  }
  return { tokenizer, parts, config, vocabularySize }
}

/** llama.cpp gives tokens without text a name too. */
function nameOf(token: string, id: number): string {
  return token || `[EMPTY_${id}]`
}

function readVocabulary(metadata: GgufMetadata): PieceVocabulary & Pick<Vocabulary, 'ids'> {
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
  return { name: metadata.name, tokens, types, ids }
}

/** Merges as they are listed, a pair at a time: half a million of them would take room for nothing. */
function listedMerges(metadata: GgufMetadata): Merges {
  const key = 'tokenizer.ggml.merges'
  return {
    count: metadata.listLength(key),
    *pairs() {
      let number = 0
      for (const merge of metadata.eachString(key)) {
        const space = merge.indexOf(' ')
        if (space <= 0 || space === merge.length - 1 || merge.includes(' ', space + 1))
          throw metadata.error(key, `must be pairs with a space between; number ${number} is ${show(merge)}`)
        yield [merge.slice(0, space), merge.slice(space + 1)]
        number++
      }
    },
  }
}

/** Tokens spell bytes as GPT-2 does. */
function byteLevel(vocabulary: PieceVocabulary, merges: Merges, preTokenizer: string) {
  return {
    normalizer: null,
    pre_tokenizer: preTokenizers.get(preTokenizer),
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: bpe(vocabulary, () => [...merges.pairs()], {
      ignore_merges: wholeWordNames.includes(preTokenizer),
    }),
  }
}

function readScores(metadata: GgufMetadata, count: number): number[] {
  const scores = metadata.numbers('tokenizer.ggml.scores')
  if (scores.length === count) return scores
  throw metadata.error('tokenizer.ggml.scores', `must have as many elements as there are tokens (${count})`)
}
