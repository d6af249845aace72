import { FormatError } from '../core/errors.ts'
import { perplexity } from '../evaluate/perplexity.ts'
import { readTextFile } from './input.ts'
import { interrupted, withoutYielding } from './interrupt.ts'
import { type CommonOptions, type ComputeOptions, loadModel, withDevice } from './model.ts'
import { formatCount, printJson, progressBar } from './output.ts'

export interface EvaluateCommandOptions extends CommonOptions, ComputeOptions {
  text: string
  baseline?: string
  context?: number
  stride?: number
}

/** `lowbit evaluate`: perplexity on a text, and with a baseline how far the model strays from it. */
export async function evaluateCommand(path: string, options: EvaluateCommandOptions): Promise<void> {
  const text = await readTextFile(options.text)
  await withDevice(options, async (device) => {
    const model = await loadModel(path, device, options)
    const baseline =
      options.baseline === undefined ? undefined : await loadModel(options.baseline, device, options)
    const { tokenizer } = model
    if (!tokenizer)
      throw new FormatError(
        `${path}: must hold a tokenizer, which turns the text into tokens: tokenizer.json, vocab.json and merges.txt, or tokenizer.model; it holds none that can be read`,
      )
    const ids = withoutYielding(() => tokenizer.encode(text, { addSpecialTokens: false }))
    const bar = await progressBar('evaluate', options)
    const { context, stride, computeDtype, kv } = options
    const measured = perplexity(model, ids, {
      context,
      stride,
      baseline,
      computeDtype,
      kv,
      signal: interrupted,
      onProgress: bar.update,
    })
    const result = await measured.finally(bar.stop)
    if (options.json) return printJson(result)
    const lines = [
      `perplexity     ${result.perplexity.toFixed(4)}  (${result.nll.toFixed(5)} nats per token, ${formatCount(result.tokens)} tokens scored, ${result.computeDtype})`,
    ]
    if (result.klDivergence !== undefined && result.top1Agreement !== undefined) {
      lines.push(`KL divergence  ${result.klDivergence.toFixed(5)} nats per token from the baseline`)
      lines.push(
        `agreement      ${(100 * result.top1Agreement).toFixed(2)} % of the likeliest tokens are the baseline's`,
      )
    }
    process.stdout.write(`${lines.join('\n')}\n`)
  })
}
