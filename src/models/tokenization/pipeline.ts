import type * as Library from '@huggingface/tokenizers'
import { FormatError } from '../../core/errors.ts'
import { type JsonObject, show } from '../../formats/json.ts'
import { type AddedToken, AddedTokens } from '../addedTokens.ts'
import { BpeModel } from './bpe.ts'
import { isByteToken } from './byteLevel.ts'
import { type Decode, decoder } from './decoders.ts'
import { makeParts, type Tokens } from './library.ts'
import { type PreTokenizer, preTokenizer } from './preTokenizers.ts'
import type { TokenModel } from './tokenModel.ts'
import { readVocabulary, type Vocabulary } from './vocabulary.ts'
import { UnigramModel, WordPieceModel } from './wordModels.ts'

/** Which added tokens are found in a text: all, those that are not special, or none. */
export type Found = 'all' | 'ordinary' | 'none'

/** A tokenizer made of its tokenizer.json, step by step in the order of the Python library. */
export class Pipeline {
  readonly vocabulary: Vocabulary
  /** Ids of special tokens. */
  readonly special: ReadonlySet<number>
  /** The kind of its model. */
  readonly kind: string
  /** Tokens to be found in the text as it is, and in normalized text. */
  private readonly plain: AddedTokens
  private readonly normalized: AddedTokens
  private readonly normalize: (text: string) => string
  private readonly words: PreTokenizer
  private readonly model: TokenModel
  private readonly surround: (tokens: Tokens, addSpecialTokens: boolean) => Tokens
  private readonly spell: Decode
  /** Whether runs of tokens such as `<0x41>` become text together. */
  private readonly spellsBytes: boolean
  private readonly addedIds: ReadonlyMap<string, number>
  private readonly name: string

  /** @throws FormatError if a part is not sound, or of a kind that there is not */
  constructor(library: typeof Library, json: JsonObject, vocabulary: Vocabulary = readVocabulary(json)) {
    const part = (key: string) => (json.has(key) ? json.object(key) : null)
    this.name = json.name
    this.vocabulary = vocabulary
    const { added } = vocabulary
    const made = makeParts(library, {
      normalizer: json.get('normalizer') ?? null,
      post_processor: json.get('post_processor') ?? null,
    })
    const { normalizer, post_processor } = made
    this.normalize = normalizer ? (text) => normalizer(text) : (text) => text
    this.surround = post_processor
      ? (tokens, adds) => post_processor(tokens, null, adds).tokens
      : (tokens) => tokens
    const cut = part('pre_tokenizer')
    this.words = cut ? preTokenizer(library, cut) : (text) => [text]
    const model = json.object('model')
    this.kind = kindOf(model)
    this.model = makeModel(library, model, this.kind, vocabulary)
    const spelling = part('decoder')
    this.spell = spelling ? decoder(library, spelling) : (tokens) => [tokens.join(' ')]
    this.spellsBytes = /"ByteFallback"/.test(JSON.stringify(json.get('decoder') ?? null))
    this.addedIds = new Map(added.map(({ content, id }) => [content, id]))
    this.special = new Set(added.filter(({ special }) => special).map(({ id }) => id))
    this.plain = new AddedTokens(added.filter((token) => !isNormalized(token)))
    this.normalized = new AddedTokens(added.filter(isNormalized), ({ content }) => this.normalize(content))
  }

  /** Token ids of a text, with special tokens around it where that is asked for. */
  encode(text: string, addSpecialTokens: boolean, found: Found = 'all'): number[] {
    const skips = ({ special }: AddedToken) => found === 'none' || (found === 'ordinary' && special === true)
    const pieces = this.plain
      .split(text, skips)
      .flatMap((piece) =>
        typeof piece === 'string' ? this.normalized.split(this.normalize(piece), skips) : [piece],
      )
    const ids: number[] = []
    for (const [i, piece] of pieces.entries()) {
      if (typeof piece !== 'string') ids.push(piece.id)
      else
        for (const word of this.words(piece, i === 0))
          for (const id of this.model.tokenIds(word)) ids.push(id)
    }
    return this.surround(ids, addSpecialTokens).map((token) =>
      typeof token === 'number' ? token : this.idOf(token),
    )
  }

  /** The text of token ids; those that the vocabulary does not have give none. */
  decode(ids: readonly number[], skipSpecialTokens: boolean): string {
    return this.textOf(this.tokensOf(ids, skipSpecialTokens))
  }

  /** The beginning of the text of token ids, as much of it as no further token can change. */
  decodeSettled(ids: readonly number[], skipSpecialTokens: boolean): string {
    const tokens = this.tokensOf(ids, skipSpecialTokens)
    // A byte that fits no character would undo the whole run.
    if (this.spellsBytes) while (isByteToken(tokens.at(-1) ?? '')) tokens.pop()
    // A character may be split over tokens: the rest of it may come.
    return this.textOf(tokens).replace(/\ufffd+$/, '')
  }

  private tokensOf(ids: readonly number[], skipSpecialTokens: boolean): string[] {
    return ids.flatMap((id) => {
      const token = this.vocabulary.tokenOf(id)
      return token === undefined || (skipSpecialTokens && this.special.has(id)) ? [] : [token]
    })
  }

  private textOf(tokens: string[]): string {
    return tokens.length === 0 ? '' : this.spell(tokens).join('')
  }

  private idOf(token: string): number {
    const id = this.addedIds.get(token) ?? this.vocabulary.ids.get(token)
    if (id === undefined)
      throw new FormatError(`${this.name}: the vocabulary must hold ${show(token)}; it does not`)
    return id
  }
}

function isNormalized({ normalized, special }: AddedToken): boolean {
  return normalized ?? !special
}

/** The kind of a model; older files do not name it. */
export function kindOf(model: JsonObject): string {
  if (model.has('type')) return model.string('type')
  if (Array.isArray(model.get('vocab'))) return 'Unigram'
  return model.has('merges') ? 'BPE' : 'WordPiece'
}

function makeModel(
  library: typeof Library,
  model: JsonObject,
  kind: string,
  vocabulary: Vocabulary,
): TokenModel {
  const { ids } = vocabulary
  if (kind === 'BPE') return new BpeModel(model, vocabulary)
  if (kind === 'Unigram') return new UnigramModel(library, model, ids)
  if (kind === 'WordPiece') return new WordPieceModel(library, model, ids)
  throw model.error('type', 'must be BPE, Unigram or WordPiece')
}
