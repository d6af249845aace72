import { FormatError } from '../../core/errors.ts'
import type { AddedToken } from '../addedTokens.ts'
import { tokenTypes } from '../ggufTokens.ts'

/*
 * SentencePiece's tokens as a tokenizer.json: of a `tokenizer.model`, and of a GGUF file, which holds the
 * same. Source: transformers, tokenization_utils_base.py and convert_slow_tokenizer.py.
 */

/**
 * SentencePiece's default is 16, the longest runs of spaces in use have some 60: what is longer is no piece,
 * and slow to take apart.
 */
const maxPieceLength = 256

/** Tokens by id, each with its type as `tokenTypes` numbers them. */
export interface PieceVocabulary {
  /** What messages call the file. */
  readonly name: string
  readonly tokens: Iterable<string>
  tokenOf(id: number): string | undefined
  readonly types: readonly number[]
}

/** What SentencePiece does besides joining pieces. */
export interface PieceSettings {
  /** Of each token: the higher, the sooner it is made. */
  readonly scores: readonly number[]
  /** Whether a space is put before the text. */
  readonly addsPrefix: boolean
  /** Whether spaces around the text go, and of several between words all but one. */
  readonly removesSpaces?: boolean
  /** Of the token for what is unknown. */
  readonly unknownId: number | null
}

/** The parts of a tokenizer.json whose pieces are joined by their scores. */
export function joinedPieces(vocabulary: PieceVocabulary, settings: PieceSettings) {
  const tokens = checkedTokens(vocabulary)
  const { unknownId } = settings
  return {
    ...spaces(settings),
    model: bpe(tokens, () => mergesByScore(tokens, vocabulary.types, settings.scores), {
      unk_token: unknownId === null ? null : tokens[unknownId],
      fuse_unk: true,
      byte_fallback: true,
    }),
  }
}

/** The parts of a tokenizer.json whose pieces are the likeliest by their scores. */
export function likeliestPieces(
  vocabulary: PieceVocabulary,
  settings: PieceSettings,
): Record<string, unknown> {
  const vocab = checkedTokens(vocabulary).map((token, id) => [token, settings.scores[id]])
  const byte_fallback = vocabulary.types.includes(tokenTypes.byte)
  return { ...spaces(settings), model: { type: 'Unigram', unk_id: settings.unknownId, byte_fallback, vocab } }
}

/** Whether text is taken apart into tokens of a type, as it is not into special ones. */
function isPiece(type: number): boolean {
  return type === tokenTypes.normal || type === tokenTypes.userDefined || type === tokenTypes.unused
}

/** @throws FormatError if a piece is longer than any in use */
function checkedTokens({ name, tokens: listed, types }: PieceVocabulary): string[] {
  const tokens = [...listed]
  const id = tokens.findIndex((token, at) => isPiece(types[at]) && token.length > maxPieceLength)
  if (id < 0) return tokens
  throw new FormatError(
    `${name}: tokens must have at most ${maxPieceLength} characters; token ${id} has ${tokens[id].length}`,
  )
}

/** Spaces become `▁`, and again spaces. */
function spaces({ addsPrefix, removesSpaces = false }: PieceSettings): Record<string, unknown> {
  const replace = { type: 'Replace', pattern: { String: ' ' }, content: '▁' }
  const decoders: object[] = [
    { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
    { type: 'ByteFallback' },
    { type: 'Fuse' },
  ]
  if (addsPrefix) decoders.push({ type: 'Strip', content: ' ', start: 1, stop: 0 })
  const decoder = { type: 'Sequence', decoders }
  const sequence = (...normalizers: object[]) => ({ type: 'Sequence', normalizers })
  if (!removesSpaces) {
    const prefix = { type: 'Prepend', prepend: '▁' }
    return { normalizer: addsPrefix ? sequence(prefix, replace) : replace, pre_tokenizer: null, decoder }
  }
  const prepend_scheme = addsPrefix ? 'always' : 'never'
  return {
    normalizer: sequence(
      { type: 'Strip', strip_left: true, strip_right: true },
      { type: 'Replace', pattern: { Regex: ' {2,}' }, content: ' ' },
    ),
    // Of a text that was spaces alone nothing is left to be prefixed.
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme, split: false },
    decoder,
  }
}

/** The `model` of a tokenizer.json that joins pairs. */
export function bpe(
  tokens: Iterable<string>,
  merges: () => readonly (readonly [string, string])[],
  options: Record<string, unknown>,
): Record<string, unknown> {
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
    // Both are made when they are asked for: who has tokens and merges already does not need them.
    get vocab() {
      // Not Object.fromEntries: some 50,000 pairs would have to be collected first.
      const vocab: Record<string, number> = Object.create(null)
      let id = 0
      for (const token of tokens) vocab[token] = id++
      return vocab
    },
    get merges() {
      return merges()
    },
  }
}

/**
 * Every way to make a token of two others, the token of the highest score first: SentencePiece's order.
 * Source: transformers, tokenization_utils_base.py, generate_merges.
 */
function mergesByScore(
  tokens: readonly string[],
  types: readonly number[],
  scores: readonly number[],
): [string, string][] {
  const pieces = new Set(tokens.filter((_, id) => isPiece(types[id])))
  const merges: { pair: [string, string]; score: number }[] = []
  for (const [id, token] of tokens.entries()) {
    if (!isPiece(types[id])) continue
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

/** The added tokens that the types of a vocabulary name. */
export function addedPieces({ tokenOf, types }: Pick<PieceVocabulary, 'tokenOf' | 'types'>): AddedToken[] {
  return types.flatMap((type, id) => {
    const special = type === tokenTypes.control || type === tokenTypes.unknown
    if (!special && type !== tokenTypes.userDefined) return []
    return [addedToken(id, tokenOf(id) as string, special)]
  })
}

/** An added token as a tokenizer.json lists it, found in the text as it is. */
export function addedToken(
  id: number,
  content: string,
  special: boolean,
): AddedToken & Record<string, unknown> {
  return { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special }
}

/** What puts tokens around a text, as a tokenizer.json has it; null where nothing is. */
export function surrounding(
  bos: { id: number; content: string } | null,
  eos: { id: number; content: string } | null,
): object | null {
  if (bos === null && eos === null) return null
  const text = (id: 'A' | 'B') => {
    const token = (put: typeof bos) =>
      put === null ? [] : [{ SpecialToken: { id: put.content, type_id: 0 } }]
    return [...token(bos), { Sequence: { id, type_id: 0 } }, ...token(eos)]
  }
  const used = [bos, eos].filter((token) => token !== null)
  const special_tokens = Object.fromEntries(
    used.map(({ id, content }) => [content, { id: content, ids: [id], tokens: [content] }]),
  )
  return { type: 'TemplateProcessing', single: text('A'), pair: [...text('A'), ...text('B')], special_tokens }
}
