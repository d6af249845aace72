import { readCalibrationTexts } from '#files'
import { DTypeError, ShapeError } from '../core/errors.ts'
import {
  aBoolean,
  aFunction,
  aList,
  aSignal,
  aString,
  check,
  either,
  isObject,
  type Kind,
  show,
  wholeNumber,
} from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { Random } from '../core/random.ts'
import type { CalibrationTexts } from '../formats/calibrationTexts.ts'
import type { OpenOptions } from '../formats/source.ts'
import { permutation } from '../nn/data/loader.ts'
import type { ChatMessage } from './chatTemplate.ts'
import { Tokenizer } from './tokenizer.ts'

/** A text, a conversation, or token ids. */
export type CalibrationText = string | readonly ChatMessage[] | readonly number[]

/**
 * What a model is calibrated on. A string is the name of a known set, `wikitext2`, `c4` or `pileval`, which
 * the hub or its cache has; a folder that holds a file of one; or a file: text, parquet, or JSON lines with
 * `text`, `messages` or `input_ids`.
 */
export type CalibrationSource = string | readonly CalibrationText[]

/** How samples are cut of texts. */
export interface SamplingOfTexts {
  /** At most so many; default 128. */
  samples?: number
  /** Tokens of a sample; default 2048. */
  length?: number
  /** In which order texts come, and which windows of a long one are taken; default 0. */
  seed?: number
  /**
   * Whether texts are put together, one after the other, and cut into samples of the same length, as AutoAWQ
   * does with `pileval`; else each text is a sample of its own, cut at `length`. Default true.
   */
  packing?: boolean
}

/** How texts become samples. */
export interface CalibrationDataOptions extends SamplingOfTexts, OpenOptions {
  /** What makes token ids of texts. */
  tokenizer?: Tokenizer | null
}

export const samplingOfTextsKinds: OptionKinds<SamplingOfTexts> = {
  samples: wholeNumber(1),
  length: wholeNumber(2),
  seed: wholeNumber(-Infinity),
  packing: aBoolean,
}

export const aTokenizer: Kind = {
  must: 'be a tokenizer, such as model.tokenizer, or null',
  holds: (value) => value === null || value instanceof Tokenizer,
}

const optionKinds: OptionKinds<CalibrationDataOptions> = {
  ...samplingOfTextsKinds,
  tokenizer: aTokenizer,
  signal: aSignal,
  onDownload: aFunction,
}

/**
 * Samples of token ids, for `quantizeCalibrated` and other watchers: texts in a random order, one after the
 * other, cut into windows of `length` tokens; of more windows than `samples` random ones.
 *
 *     const samples = await calibrationData('wikitext2', { tokenizer: model.tokenizer, length: 512 })
 *
 * @throws ShapeError or FormatError if there is no text, or too little for a sample; DTypeError if a text has
 * no tokenizer
 */
export async function calibrationData(
  source: CalibrationSource,
  options: CalibrationDataOptions = {},
): Promise<number[][]> {
  check('calibrationData', 'source', source, either('be a name, a path or a list of texts', aString, aList))
  checkOptions('calibrationData', options, optionKinds)
  const { signal, onDownload } = options
  const { name, texts } =
    typeof source === 'string'
      ? await readCalibrationTexts(source, { signal, onDownload })
      : { name: 'calibrationData', texts: source }
  if (texts.length === 0) throw new ShapeError(`${name}: there must be a text; received none`)
  return new Samples(name, texts, options).take()
}

/** Whether data are texts, of which samples are to be made first. */
export function areTexts(data: unknown): data is CalibrationSource {
  if (typeof data === 'string') return true
  return Array.isArray(data) && data.some((item) => typeof item === 'string' || isConversation(item))
}

function isConversation(item: unknown): item is readonly ChatMessage[] {
  return Array.isArray(item) && isObject(item[0]) && typeof item[0].role === 'string'
}

/** Texts that become samples. */
class Samples {
  private readonly name: string
  private readonly texts: CalibrationTexts['texts']
  private readonly options: CalibrationDataOptions
  private readonly samples: number
  private readonly length: number
  private readonly random: Random

  constructor(name: string, texts: CalibrationTexts['texts'], options: CalibrationDataOptions) {
    this.name = name
    this.texts = texts
    this.options = options
    this.samples = options.samples ?? 128
    this.length = options.length ?? 2048
    this.random = new Random(options.seed ?? 0)
  }

  take(): Promise<number[][]> {
    return (this.options.packing ?? true) ? this.packed() : this.each()
  }

  /** Each text a sample; those of a single token say nothing. */
  private async each(): Promise<number[][]> {
    const samples: number[][] = []
    let longest = 0
    for await (const ids of this.encoded()) {
      longest = Math.max(longest, ids.length)
      if (ids.length > 1) samples.push(ids.slice(0, this.length))
      if (samples.length === this.samples) break
    }
    if (samples.length > 0) return samples
    throw this.tooShort(2, longest)
  }

  private async packed(): Promise<number[][]> {
    const { samples, length } = this
    const all: number[] = []
    for await (const ids of this.encoded()) {
      for (const id of ids) all.push(id)
      if (this.texts.length > 1 && all.length >= samples * length) break
    }
    const windows = Math.floor(all.length / length)
    if (windows === 0) throw this.tooShort(length, all.length)
    const order = windows > samples ? permutation(windows, this.random).slice(0, samples).sort() : undefined
    return Array.from({ length: Math.min(samples, windows) }, (_, i) => {
      const start = (order ? order[i] : i) * length
      return all.slice(start, start + length)
    })
  }

  /** The token ids of each text, in random order. */
  private async *encoded(): AsyncGenerator<readonly number[]> {
    const { texts } = this
    const order = texts.length > 1 ? permutation(texts.length, this.random) : [0]
    for (const i of order) {
      this.options.signal?.throwIfAborted()
      yield await this.encode(texts[i], i)
    }
  }

  private async encode(text: CalibrationTexts['texts'][number], i: number): Promise<readonly number[]> {
    if (Array.isArray(text) && text.every((id) => Number.isInteger(id) && id >= 0)) return text
    const { tokenizer } = this.options
    if (typeof text !== 'string' && !isConversation(text))
      throw new ShapeError(
        `${this.name}: a text must be a string, messages { role, content } or token ids; number ${i} is ${show(text)}`,
      )
    if (!tokenizer)
      throw new DTypeError(
        `${this.name}: texts must have a tokenizer, which makes token ids of them; there is none: pass token ids`,
      )
    if (typeof text === 'string') return tokenizer.encode(text)
    return tokenizer.encodeChat(text, { addGenerationPrompt: false })
  }

  private tooShort(tokens: number, received: number): ShapeError {
    const shorter = tokens > 2 ? ': take more text, or shorter samples (length)' : ''
    return new ShapeError(
      `${this.name}: the text must have at least ${tokens} tokens, one sample; it has ${received}${shorter}`,
    )
  }
}
