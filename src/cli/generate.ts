import { FormatError } from '../core/errors.ts'
import { generate, type StreamOptions } from '../models/generate.ts'
import type { SequenceOptions } from '../models/sequence.ts'
import { readTextFile } from './input.ts'
import { interrupted } from './interrupt.ts'
import { type CommonOptions, type ComputeOptions, loadModel, withDevice } from './model.ts'
import { printJson } from './output.ts'

export type GenerateCommandOptions = CommonOptions &
  ComputeOptions &
  Omit<SequenceOptions, 'stopAtEos' | 'stopStrings' | 'stopTokenIds' | 'noRepeatNgramSize'> & {
    stop?: string[]
    stopToken?: number[]
    blockNgrams?: number
    eos: boolean
    chat?: boolean
    chatTemplate?: string
  }

/** `lowbit generate`: the text as it comes, then a line of figures on stderr; or one JSON document. */
export async function generateCommand(
  path: string,
  text: string,
  options: GenerateCommandOptions,
): Promise<void> {
  // The line break that ends what a shell pipes is none of the prompt.
  const prompt = text === '-' ? (await readTextFile('-')).replace(/\r?\n$/, '') : text
  await withDevice(options, async (device) => {
    const model = await loadModel(path, device, options, { prepareTokenizer: true })
    if (!model.tokenizer)
      throw new FormatError(
        `${path}: must hold a tokenizer, which turns the prompt into tokens: tokenizer.json, vocab.json and merges.txt, or tokenizer.model; it holds none that can be read`,
      )
    const { chatTemplate: template } = options
    const isChat = options.chat || template !== undefined
    const given = isChat
      ? await model.tokenizer.encodeChat([{ role: 'user', content: prompt }], { template })
      : prompt
    const onText = options.json ? undefined : (piece: string) => void process.stdout.write(piece)
    const result = await generate(model, given, { ...generateOptions(options), onText, signal: interrupted })
    const { firstTokenMs: _, ...figures } = result
    if (options.json) return printJson(figures)
    const { tokenIds, promptTokens, prefillTokensPerSecond, decodeTokensPerSecond } = result
    process.stdout.write('\n')
    const speeds = `${promptTokens} prompt tokens at ${prefillTokensPerSecond.toFixed(0)}/s, ${tokenIds.length} new at ${decodeTokensPerSecond.toFixed(0)}/s`
    process.stderr.write(
      `${speeds} (${device.name}, ${threadCount(device.threads)}, ${result.computeDtype})\n`,
    )
  })
}

/** What the command line says of the generation, as `generate` takes it. */
export function generateOptions(options: GenerateCommandOptions & { system?: string }): StreamOptions {
  const { stop, stopToken, blockNgrams, eos, chat, chatTemplate, system, ...rest } = options
  const { device, threads, dtype, json, fuse, ...same } = rest
  return {
    ...same,
    stopStrings: stop,
    stopTokenIds: stopToken,
    noRepeatNgramSize: blockNgrams,
    stopAtEos: eos,
  }
}

/** `1 thread`, `2 threads` */
export function threadCount(threads: number): string {
  return `${threads} ${threads === 1 ? 'thread' : 'threads'}`
}
