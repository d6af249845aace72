import { FormatError } from '../core/errors.ts'
import { aBoolean, aString, check, isObject, type Kind, listOf, wholeNumber } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { JsonObject } from '../formats/json.ts'
import { type ChatMessage, type ChatTemplateOptions, chatTemplateKinds, renderChat } from './chatTemplate.ts'
import { CleanUpStream, cleanUp } from './cleanUp.ts'
import type { DecodeStream } from './decodeStream.ts'
import type { Pipeline } from './tokenization/pipeline.ts'
import { PipelineStream } from './tokenization/pipelineStream.ts'
import { readVocabulary, type TokenizerParts, type Vocabulary } from './tokenization/vocabulary.ts'

/** How text becomes token ids. */
export interface EncodeOptions {
  /** Puts the special tokens that the model expects around the text; default true. */
  addSpecialTokens?: boolean
  /**
   * Whether special tokens that are spelled in the text are those tokens; default true, as in Python. What a
   * user typed should not be able to end a turn: there it is false, and they are text (transformers'
   * `split_special_tokens`).
   */
  parseSpecialTokens?: boolean
}

const encodeKinds: OptionKinds<EncodeOptions> = { addSpecialTokens: aBoolean, parseSpecialTokens: aBoolean }

/** How token ids become text. */
export interface DecodeOptions {
  /** Leaves special tokens out; default true. */
  skipSpecialTokens?: boolean
}

const decodeKinds: OptionKinds<DecodeOptions> = { skipSpecialTokens: aBoolean }

const aMessage: Kind = {
  must: 'be { role, content }',
  holds: (value) => isObject(value) && typeof value.role === 'string',
}

/** Makes a pipeline in steps, each short enough for others to wait. */
type Making = Iterator<void, Pipeline>

/** Text ↔ token ids, by the model's own tokenizer. */
export class Tokenizer {
  private make: (() => Making) | undefined
  private making: Making | undefined
  private made: Pipeline | undefined
  private readonly config: JsonObject
  /** One more than the largest token id. */
  readonly vocabularySize: number

  private constructor(make: () => Making, config: Record<string, unknown>, vocabularySize: number) {
    this.make = make
    this.config = new JsonObject(config, 'tokenizer_config.json')
    this.vocabularySize = vocabularySize
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
    const parsed = new JsonObject(json, name)
    const vocabulary = readVocabulary(parsed)
    const make = await pipelines(name)
    const making = () => ({ next: () => ({ done: true, value: make(parsed, vocabulary) }) as const })
    return new Tokenizer(making, config, vocabulary.size)
  }

  /**
   * A tokenizer whose tokenizer.json is made when it is first used.
   * @param parts makes it in steps, with token ids that are sound
   * @param vocabularySize one more than its largest token id
   */
  static async lazy(
    parts: () => Generator<void, TokenizerParts>,
    config: Record<string, unknown>,
    vocabularySize: number,
    name: string,
  ): Promise<Tokenizer> {
    const make = await pipelines(name)
    const making = function* () {
      const { json, vocabulary } = yield* parts()
      return make(new JsonObject(json, name), vocabulary)
    }
    return new Tokenizer(making, config, vocabularySize)
  }

  /**
   * Makes the tables that encoding needs, if they are not there yet: done when they are first needed, since
   * whoever passes token ids need not spend the time.
   * @throws FormatError if the tokenizer is not sound
   */
  prepare(): void {
    while (this.prepareStep());
  }

  /**
   * A part of `prepare`, of some ten milliseconds, for whoever does something else meanwhile; gives whether
   * there is more to do.
   * @throws FormatError if the tokenizer is not sound
   */
  prepareStep(): boolean {
    if (this.made) return false
    this.making ??= this.make?.() as Making
    const making = this.making
    // After a failure it begins anew, and fails again.
    this.making = undefined
    const { done, value } = making.next()
    if (!done) {
      this.making = making
      return true
    }
    this.made = value
    // What it was made of may go.
    this.make = undefined
    return false
  }

  private get pipeline(): Pipeline {
    this.prepare()
    return this.made as Pipeline
  }

  /**
   * Token ids of `text`, by default with the special tokens that the model expects around it.
   * @throws FormatError if the tokenizer is not sound
   */
  encode(text: string, options: EncodeOptions = {}): number[] {
    check('encode', 'text', text, aString)
    checkOptions('encode', options, encodeKinds)
    const { addSpecialTokens = true, parseSpecialTokens = true } = options
    return this.pipeline.encode(text, addSpecialTokens, parseSpecialTokens ? 'all' : 'ordinary')
  }

  /**
   * The text of token ids, by default without special tokens. Ids that the vocabulary does not have give
   * none.
   */
  decode(ids: readonly number[], options: DecodeOptions = {}): string {
    check('decode', 'ids', ids, listOf('token ids', wholeNumber(0)))
    checkOptions('decode', options, decodeKinds)
    const text = this.pipeline.decode(ids, options.skipSpecialTokens ?? true)
    return this.cleansUp() ? cleanUp(text) : text
  }

  /** The text of tokens that come one by one, in pieces that add up to what `decode` gives. */
  decodeStream(options: DecodeOptions = {}): DecodeStream {
    checkOptions('decodeStream', options, decodeKinds)
    const cleaned = this.cleansUp() ? new CleanUpStream() : undefined
    return new PipelineStream(this.pipeline, options.skipSpecialTokens ?? true, cleaned)
  }

  /**
   * Whether decoding removes spaces before punctuation: as transformers has it since version 5, only where
   * that is asked for, and of a BPE tokenizer only where it is asked for by the name that says what it does.
   */
  private cleansUp(): boolean {
    if (!this.config.boolean('clean_up_tokenization_spaces', false)) return false
    return (
      this.pipeline.kind !== 'BPE' ||
      this.config.boolean('clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output', false)
    )
  }

  /**
   * The prompt for a conversation, by the model's chat template; by default it ends where the assistant's
   * answer begins. `encodeChat` gives its token ids.
   * @throws FormatError if the model has no chat template of that name, or one that fails
   */
  async applyChatTemplate(
    messages: readonly ChatMessage[],
    options: ChatTemplateOptions = {},
  ): Promise<string> {
    checkChat('applyChatTemplate', messages, options)
    return renderChat(this.config, messages, options)
  }

  /**
   * The token ids of a conversation's prompt, as `applyChatTemplate` writes it. Only the template's own
   * special tokens are special: what looks like one in messages, tools, documents or variables is text
   * (transformers' `sanitize_control_tokens`).
   * @throws FormatError if the model has no chat template of that name, or one that fails
   */
  async encodeChat(messages: readonly ChatMessage[], options: ChatTemplateOptions = {}): Promise<number[]> {
    checkChat('encodeChat', messages, options)
    const { encodeConversation } = await import('./markedChat.ts')
    return encodeConversation(this.pipeline, this.config, messages, options)
  }
}

function checkChat(operation: string, messages: readonly ChatMessage[], options: ChatTemplateOptions): void {
  check(operation, 'messages', messages, listOf('messages { role, content }', aMessage))
  checkOptions(operation, options, chatTemplateKinds)
}

/** Makes pipelines of a tokenizer.json of this name. */
async function pipelines(name: string) {
  // Loaded when used: most commands have no text.
  const [library, { Pipeline }] = await Promise.all([
    import('@huggingface/tokenizers'),
    import('./tokenization/pipeline.ts'),
  ])
  return (...[json, vocabulary]: [JsonObject, Vocabulary?]): Pipeline => {
    try {
      return new Pipeline(library, json, vocabulary)
    } catch (cause) {
      if (cause instanceof FormatError) throw cause
      const reason = cause instanceof Error ? cause.message : cause
      throw new FormatError(`${name}: must be a tokenizer of Hugging Face's format; ${reason}`, { cause })
    }
  }
}
