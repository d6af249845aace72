import { FormatError } from '../core/errors.ts'
import { aBoolean, aString, check, isObject, type Kind, listOf, wholeNumber } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { JsonObject, show } from '../formats/json.ts'
import { type AddedToken, AddedTokens, type Piece } from './addedTokens.ts'
import { type ChatMessage, renderChat } from './chatTemplate.ts'
import { cleanUp } from './cleanUp.ts'
import { addedTokens, checkBpe, largestTokenId } from './tokenizerJson.ts'

/**
 * What this module uses of `@huggingface/tokenizers`: its parts, which are called in the order of the Python
 * library.
 */
interface HuggingFaceTokenizer {
  normalizer: ((text: string) => string) | null
  pre_tokenizer: ((text: string, options: { section_index: number }) => string[]) | null
  model: (words: string[]) => string[]
  post_processor: ((tokens: string[], pair: null, addSpecialTokens: boolean) => { tokens: string[] }) | null
  token_to_id(token: string): number | undefined
  id_to_token(id: number): string | undefined
  decode(
    ids: number[],
    options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean },
  ): string
}

const aMessage: Kind = {
  must: 'be { role, content }',
  holds: (value) => isObject(value) && 'role' in value && 'content' in value,
}

/** A tokenizer made of its files. */
interface Made {
  library: HuggingFaceTokenizer
  /** Tokens to be found in the text as it is, and in normalized text. */
  plain: AddedTokens
  normalized: AddedTokens
  special: ReadonlySet<number>
  cleansUp: boolean
}

/** How token ids become text. */
export interface DecodeOptions {
  /** Leaves special tokens out; default true. */
  skipSpecialTokens?: boolean
}

const decodeKinds: OptionKinds<DecodeOptions> = { skipSpecialTokens: aBoolean }

/** Text ↔ token ids, by the model's own tokenizer.json. */
export class Tokenizer {
  private make: (() => Made) | undefined
  private lazilyMade: Made | undefined
  private readonly config: JsonObject
  /** What messages call tokenizer.json. */
  private readonly name: string
  /** One more than the largest token id. */
  readonly vocabularySize: number

  private constructor(make: () => Made, config: JsonObject, vocabularySize: number, name: string) {
    this.make = make
    this.config = config
    this.vocabularySize = vocabularySize
    this.name = name
  }

  /**
   * @param json tokenizer.json, parsed
   * @param config tokenizer_config.json, or {}
   * @param name what messages call tokenizer.json
   * @throws FormatError if a token id is not one; what else cannot be read is said when it is first used
   */
  static async fromJson(
    json: object,
    config: Record<string, unknown>,
    name = 'tokenizer.json',
  ): Promise<Tokenizer> {
    return Tokenizer.lazy(() => json, config, largestTokenId(new JsonObject(json, name)) + 1, name)
  }

  /**
   * A tokenizer whose tokenizer.json is made when it is first used.
   * @param json makes it, with token ids that are sound
   * @param vocabularySize one more than its largest token id
   */
  static async lazy(
    json: () => object,
    config: Record<string, unknown>,
    vocabularySize: number,
    name: string,
  ): Promise<Tokenizer> {
    const library = await import('@huggingface/tokenizers')
    const settings = new JsonObject(config, 'tokenizer_config.json')
    const make = () => {
      const parsed = new JsonObject(json(), name)
      checkBpe(parsed)
      const added = addedTokens(parsed)
      try {
        const made = new library.Tokenizer({ ...parsed.toObject(), added_tokens: added }, config)
        return assemble(made as unknown as HuggingFaceTokenizer, added, cleansUp(parsed, settings))
      } catch (cause) {
        const reason = cause instanceof Error ? cause.message : cause
        throw new FormatError(`${name}: must be a tokenizer of Hugging Face's format; ${reason}`, { cause })
      }
    }
    return new Tokenizer(make, settings, vocabularySize, name)
  }

  /**
   * Made when first used: for 50,000 tokens it takes a fifth of a second and 30 MB, which whoever passes
   * token ids need not spend.
   */
  private get made(): Made {
    if (!this.lazilyMade) {
      this.lazilyMade = this.make?.() as Made
      // What it was made of may go.
      this.make = undefined
    }
    return this.lazilyMade
  }

  /**
   * Token ids of `text`, by default with the special tokens that the model expects around it.
   * @throws FormatError if the tokenizer is not sound
   */
  encode(text: string, options: { addSpecialTokens?: boolean } = {}): number[] {
    check('encode', 'text', text, aString)
    checkOptions('encode', options, { addSpecialTokens: aBoolean })
    const { library, plain, normalized } = this.made
    const normalize = (piece: Piece) =>
      typeof piece === 'string'
        ? normalized.split(library.normalizer ? library.normalizer(piece) : piece)
        : [piece]
    const pieces = plain.split(text).flatMap(normalize)
    const tokens = pieces.flatMap((piece, i) => {
      if (typeof piece !== 'string') return [piece.content]
      return library.model(
        library.pre_tokenizer ? library.pre_tokenizer(piece, { section_index: i }) : [piece],
      )
    })
    const { post_processor } = library
    const whole = post_processor
      ? post_processor(tokens, null, options.addSpecialTokens ?? true).tokens
      : tokens
    return whole.map((token) => {
      const id = library.token_to_id(token)
      if (id === undefined)
        throw new FormatError(`${this.name}: the vocabulary must hold ${show(token)}; it does not`)
      return id
    })
  }

  /**
   * The text of token ids, by default without special tokens. Ids that the vocabulary does not have give
   * none.
   */
  decode(ids: readonly number[], options: DecodeOptions = {}): string {
    check('decode', 'ids', ids, listOf('token ids', wholeNumber(0)))
    checkOptions('decode', options, decodeKinds)
    const text = this.decodeRaw(ids, options)
    return this.made.cleansUp ? cleanUp(text).whole : text
  }

  /**
   * The beginning of the text of token ids, as much of it as no further token can change; pieces of a stream
   * add up to `decode`'s text.
   * What is streamed is what no further token can change: decoding holds back characters that are not whole,
   * and where spaces are cleaned up the beginnings of what would be replaced; so the pieces add up to the
   * text returned.
   */
  decodeSettled(ids: readonly number[], options: DecodeOptions = {}): string {
    // A character may be split over tokens: the rest of it may come.
    const text = this.decodeRaw(ids, options).replace(/\ufffd+$/, '')
    return this.made.cleansUp ? cleanUp(text).settled : text
  }

  private decodeRaw(ids: readonly number[], { skipSpecialTokens = true }: DecodeOptions): string {
    const { library, special } = this.made
    const known = ids.filter(
      (id) => library.id_to_token(id) !== undefined && !(skipSpecialTokens && special.has(id)),
    )
    return known.length === 0
      ? ''
      : library.decode(known, { skip_special_tokens: false, clean_up_tokenization_spaces: false })
  }

  /**
   * The prompt for a conversation, by the model's chat template, ending where the assistant's answer begins.
   * @param options.template the name of one of several templates; default: the only one, or `default`
   * @throws FormatError if the model has no chat template of that name, or one that fails
   */
  async applyChatTemplate(
    messages: readonly ChatMessage[],
    options: { template?: string } = {},
  ): Promise<string> {
    check('applyChatTemplate', 'messages', messages, listOf('messages { role, content }', aMessage))
    checkOptions('applyChatTemplate', options, { template: aString })
    return renderChat(this.config, messages, options.template)
  }
}

function assemble(library: HuggingFaceTokenizer, added: readonly AddedToken[], cleans: boolean): Made {
  const normalize = ({ content }: AddedToken) => (library.normalizer ? library.normalizer(content) : content)
  return {
    library,
    plain: new AddedTokens(added.filter((token) => !isNormalized(token))),
    normalized: new AddedTokens(added.filter(isNormalized), normalize),
    special: new Set(added.filter(({ special }) => special).map(({ id }) => id)),
    cleansUp: cleans,
  }
}

function isNormalized({ normalized, special }: AddedToken): boolean {
  return normalized ?? !special
}

/**
 * Whether decoding removes spaces before punctuation: as transformers has it since version 5, only where that
 * is asked for, and of a BPE tokenizer only where it is asked for by the name that says what it does.
 */
function cleansUp(json: JsonObject, config: JsonObject): boolean {
  if (!config.boolean('clean_up_tokenization_spaces', false)) return false
  const isBpe = json.object('model').string('type', 'BPE') === 'BPE'
  return (
    !isBpe || config.boolean('clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output', false)
  )
}
