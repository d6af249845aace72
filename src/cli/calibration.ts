import { FormatError } from '../core/errors.ts'
import type { CausalLM } from '../models/causalLM.ts'
import { calibrate } from '../quantize/calibrate.ts'
import { scope } from '../tensor/scope.ts'
import { readTextFile } from './input.ts'
import { interrupted } from './interrupt.ts'
import type { CommonOptions } from './model.ts'
import { progressBar } from './output.ts'

/** Tokens of a window, and windows at most: enough for the largest magnitudes to show. */
const windowTokens = 256
const maxWindows = 128

/**
 * Chooses the scales of a model's activations on a text.
 * @throws FormatError if there is no tokenizer, or the text does not fill a window
 */
export async function calibrateOnText(
  model: CausalLM,
  path: string,
  file: string,
  options: CommonOptions,
): Promise<void> {
  const text = await readTextFile(file)
  const { tokenizer, device } = model
  if (!tokenizer)
    throw new FormatError(
      `${path}: must hold a tokenizer, which turns the text into tokens: tokenizer.json, vocab.json and merges.txt, or tokenizer.model; it holds none that can be read`,
    )
  const ids = tokenizer.encode(text, { addSpecialTokens: false })
  const length = Math.min(windowTokens, model.config.maxPositions)
  const count = Math.min(Math.floor(ids.length / length), maxWindows)
  if (count === 0)
    throw new FormatError(
      `${file}: the text must have at least ${length} tokens, one window; it has ${ids.length}`,
    )
  const bar = await progressBar('calibrate', options)
  const run = async () => {
    for (let i = 0; i < count; i++) {
      interrupted.throwIfAborted()
      scope(() => void model.forward(ids.slice(i * length, (i + 1) * length)))
      await device.sync()
      bar.update(i + 1, count)
    }
  }
  await calibrate(model, run).finally(bar.stop)
}
