import { ShapeError } from '../core/errors.ts'

/**
 * How a text is cut into windows.
 *
 * - `whole` (default): windows of `context` tokens every `stride`; an incomplete last one is dropped. So the
 *   papers on quantization measure, and optimum-quanto's and GPTQ's scripts.
 * - `transformers`: the same, and an incomplete last window is scored, too.
 *   Source: transformers' documentation, "Perplexity of fixed-length models".
 * - `llama.cpp`: windows side by side, an incomplete last one dropped, each beginning with the token that
 *   begins a text, if the model has one; the second half of each is scored. Source: llama.cpp, perplexity.cpp.
 */
export type PerplexityDefinition = 'whole' | 'transformers' | 'llama.cpp'

export const perplexityDefinitions: readonly PerplexityDefinition[] = ['whole', 'transformers', 'llama.cpp']

/** Tokens start … end − 1 of a text, of which those from `scored` on, counted from the window's start, count. */
export interface TextWindow {
  start: number
  end: number
  scored: number
}

/**
 * The windows of a text of `length` tokens.
 * @throws ShapeError if the text has less than one
 */
export function textWindows(
  length: number,
  { context, stride, definition }: { context: number; stride: number; definition: PerplexityDefinition },
): TextWindow[] {
  if (length < context)
    throw new ShapeError(
      `perplexity: the text must have at least ${context} tokens, one window; it has ${length} (take a smaller context)`,
    )
  const windows: TextWindow[] = []
  const whole = definition !== 'transformers'
  for (let start = 0, scoredTo = 0; scoredTo < length; start += stride) {
    const end = Math.min(start + context, length)
    if (whole && end - start < context) break
    const scored = definition === 'llama.cpp' ? (context >> 1) + 1 : Math.max(1, scoredTo - start)
    // A last window of one token guesses nothing.
    if (scored < end - start) windows.push({ start, end, scored })
    scoredTo = end
  }
  return windows
}
