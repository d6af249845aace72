import { FormatError } from '../core/errors.ts'
import { aBoolean, aString, check, isObject, type Kind, listOf, wholeNumber } from '../core/kinds.ts'
import { checkOptions } from '../core/options.ts'
import { JsonObject, show } from '../formats/json.ts'

/** Larger than any published vocabulary. */
const maxVocabularySize = 2 ** 24

/** One turn of a conversation, as chat templates take it. */
export interface ChatMessage {
  role: 'system' | 'user' | 'assistant' | (string & {})
  content: string
}

const aMessage: Kind = { must: 'be { role, content }', holds: (value) => isObject(value) && 'role' in value && 'content' in value }

/** What this module uses of `@huggingface/tokenizers`. */
interface HuggingFaceTokenizer {
  encode(text: string, options?: { add_special_tokens?: boolean }): { ids: number[] }
  decode(ids: number[], options?: { skip_special_tokens?: boolean }): string
}

/** Text ↔ token ids, by the model's own tokenizer.json. */
export class Tokenizer {
  private make: (() => HuggingFaceTokenizer) | undefined
  private made: HuggingFaceTokenizer | undefined
  private readonly config: JsonObject
  /** One more than the largest token id. */
  readonly vocabularySize: number

  private constructor(make: () => HuggingFaceTokenizer, config: JsonObject, vocabularySize: number) {
    this.make = make
    this.config = config
    this.vocabularySize = vocabularySize
  }

  /**
   * @param json tokenizer.json, parsed
   * @param config tokenizer_config.json, or {}
   * @param name what messages call tokenizer.json
   * @throws FormatError if a token id is not one; what else the library cannot read is said when it is first used
   */
  static async fromJson(json: object, config: Record<string, unknown>, name = 'tokenizer.json'): Promise<Tokenizer> {
    return Tokenizer.lazy(() => json, config, checkTokenIds(new JsonObject(json, name)) + 1, name)
  }

  /**
   * A tokenizer whose tokenizer.json is made when it is first used.
   * @param json makes it, with token ids that are sound
   * @param vocabularySize one more than its largest token id
   */
  static async lazy(json: () => object, config: Record<string, unknown>, vocabularySize: number, name: string): Promise<Tokenizer> {
    const library = await import('@huggingface/tokenizers')
    const make = () => {
      const made = json()
      try {
        return new library.Tokenizer(made, config) as unknown as HuggingFaceTokenizer
      } catch (cause) {
        const reason = cause instanceof Error ? cause.message : cause
        throw new FormatError(`${name}: must be a tokenizer of Hugging Face's format; ${reason}`, { cause })
      }
    }
    return new Tokenizer(make, new JsonObject(config, 'tokenizer_config.json'), vocabularySize)
  }

  /** Made when first used: for 50,000 tokens it takes a fifth of a second and 30 MB, which whoever passes token ids need not spend. */
  private get inner(): HuggingFaceTokenizer {
    if (!this.made) {
      this.made = this.make?.() as HuggingFaceTokenizer
      // What it was made of may go.
      this.make = undefined
    }
    return this.made
  }

  /** Token ids of `text`, by default with the special tokens that the model expects around it. */
  encode(text: string, options: { addSpecialTokens?: boolean } = {}): number[] {
    check('encode', 'text', text, aString)
    checkOptions('encode', options, { addSpecialTokens: aBoolean })
    return text === '' && options.addSpecialTokens === false
      ? []
      : this.inner.encode(text, { add_special_tokens: options.addSpecialTokens ?? true }).ids
  }

  /** The text of token ids, by default without special tokens. */
  decode(ids: readonly number[], options: { skipSpecialTokens?: boolean } = {}): string {
    check('decode', 'ids', ids, listOf('token ids', wholeNumber(0)))
    checkOptions('decode', options, { skipSpecialTokens: aBoolean })
    return ids.length === 0 ? '' : this.inner.decode([...ids], { skip_special_tokens: options.skipSpecialTokens ?? true })
  }

  /**
   * The prompt for a conversation, by the model's chat template, ending where the assistant's answer begins.
   * @throws FormatError if the model has no chat template, or one that fails
   */
  async applyChatTemplate(messages: readonly ChatMessage[]): Promise<string> {
    check('applyChatTemplate', 'messages', messages, listOf('messages { role, content }', aMessage))
    if (!this.config.has('chat_template')) {
      throw new FormatError('tokenizer_config.json: has no chat_template, so the model takes plain prompts only')
    }
    const { Template } = await import('@huggingface/jinja')
    // A special token is written as a string, or as an object with its content.
    const special = (key: string) =>
      typeof this.config.get(key) === 'object' ? this.config.object(key).string('content') : this.config.string(key, '')
    const values = {
      messages,
      add_generation_prompt: true,
      bos_token: special('bos_token'),
      eos_token: special('eos_token'),
      unk_token: special('unk_token'),
      pad_token: special('pad_token'),
    }
    const source = this.config.string('chat_template')
    try {
      return new Template(source).render(values)
    } catch (cause) {
      throw new FormatError(`tokenizer_config.json: chat_template must render; ${cause instanceof Error ? cause.message : cause}`, {
        cause,
      })
    }
  }
}

/**
 * The largest token id. The library keeps tokens in arrays by id and walks them: a huge id would keep it busy for minutes.
 * @throws FormatError naming the token, or if there is no vocabulary
 */
function checkTokenIds(json: JsonObject): number {
  let largest = -1
  const check = (token: unknown, id: unknown) => {
    checkTokenId(json.name, token, id)
    largest = Math.max(largest, Number(id))
  }
  const added = json.get('added_tokens')
  for (const token of Array.isArray(added) ? added : []) check(token?.content, token?.id)
  const model: unknown = json.get('model')
  const vocabulary: unknown = typeof model === 'object' && model !== null && 'vocab' in model ? model.vocab : undefined
  if (typeof vocabulary !== 'object' || vocabulary === null) {
    throw new FormatError(`${json.name}: must be a tokenizer of Hugging Face's format; its model has no vocab`)
  }
  // Unigram models list their tokens: the place in the list is the id.
  if (Array.isArray(vocabulary)) return Math.max(largest, vocabulary.length - 1)
  // Not Object.entries: a hundred thousand pairs are not worth their memory.
  for (const token in vocabulary) check(token, Reflect.get(vocabulary, token))
  return largest
}

function checkTokenId(name: string, token: unknown, id: unknown): void {
  if (typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < maxVocabularySize) return
  throw new FormatError(`${name}: the id of ${show(token)} must be a whole number below ${maxVocabularySize}; received ${show(id)}`)
}
