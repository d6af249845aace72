import { aFunction, check, listOf, wholeNumber } from '../../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../../core/options.ts'
import { computedIn } from '../../nn/computeDtype.ts'
import { aCausalLM, type CausalLM } from '../causalLM.ts'
import { computation, type StreamOptions, streamKinds } from '../generate.ts'
import { type Generation, GenerationRecord } from '../generation.ts'
import { aPrompt, type GeneratedToken, type Prompt, promptTokens, Sequence } from '../sequence.ts'
import { Batch } from './batch.ts'

/** How prompts are continued together. */
export interface BatchOptions extends Omit<StreamOptions, 'cache'> {
  /** Prompts that are continued at once; others wait. Default 16. */
  batchSize?: number
  /** Called with each token as it comes, and which prompt it follows. */
  onToken?: (index: number, token: GeneratedToken) => void
}

const { cache: _, ...same } = streamKinds
const optionKinds: OptionKinds<BatchOptions> = {
  ...same,
  batchSize: wholeNumber(1),
  onToken: aFunction,
}

/**
 * Continues prompts of any lengths together, each as `generate` continues it alone, up to the first choice
 * that rounding decides: one step of the model gives all of them their next tokens.
 * @returns what was written behind each prompt, in the order of the prompts
 * @throws as `generate`, for any of them
 */
export async function generateBatch(
  model: CausalLM,
  prompts: readonly Prompt[],
  options: BatchOptions = {},
): Promise<Generation[]> {
  check('generateBatch', 'model', model, aCausalLM)
  check('generateBatch', 'prompts', prompts, listOf('prompts, texts or lists of token ids', aPrompt))
  checkOptions('generateBatch', options, optionKinds)
  const { batchSize = 16, onToken, kv, computeDtype, signal } = options
  signal?.throwIfAborted()
  const sequences = prompts.map(
    (prompt) => new Sequence(model, promptTokens(model, prompt, options), options),
  )
  if (sequences.length === 0) return []
  const capacity = Math.max(1, ...sequences.map(({ promptIds, limit }) => promptIds.length + limit - 1))
  const size = Math.min(batchSize, sequences.length)
  using batch = new Batch(model, { size, capacity, kv, computeDtype })
  const records = sequences.map(() => new GenerationRecord())
  let failure: { error: unknown } | undefined
  for (const [index, sequence] of sequences.entries()) {
    batch.add(sequence, {
      onToken(token) {
        records[index].add(token)
        onToken?.(index, token)
      },
      onEnd(error) {
        if (error !== undefined) failure ??= { error }
      },
    })
  }
  while (batch.count > 0) {
    await batch.step()
    if (failure) throw failure.error
    signal?.throwIfAborted()
  }
  const computed = computedIn(model, computation(options))
  return records.map((record, index) => record.generation(sequences[index], computed))
}
