import { FormatError } from '../../core/errors.ts'
import type { LlamaLikeConfig } from './llamaLike.ts'

/*
 * What families that follow Llama have in common in GGUF files.
 */

/**
 * What llama.cpp takes for granted of a model, by what a model must do.
 * @throws FormatError that names the first that does not hold
 */
export function checkGguf(model: string, rules: Readonly<Record<string, boolean>>): void {
  const broken = Object.keys(rules).find((rule) => !rules[rule])
  if (broken !== undefined)
    throw new FormatError(`gguf: llama.cpp's ${model} must ${broken}; the model does not`)
}

/** Whether no projection has a bias, other than those of queries, keys and values where they are `allowed`. */
export function hasNoBiases({ biases }: LlamaLikeConfig, allowed: 'qkv' | 'none' = 'none'): boolean {
  return !biases.output && !biases.mlp && (allowed === 'qkv' || !biases.qkv)
}

/**
 * The keys of layers with a window, where each `period`-th sees all tokens.
 * @param usual the period that llama.cpp takes where none is stated
 * @throws FormatError if they come otherwise, or the windows differ
 */
export function windowKeys(
  model: string,
  { windows }: LlamaLikeConfig,
  usual: number,
): Record<string, number> {
  const window = windows.find((each) => each !== null)
  const periods = Array.from({ length: windows.length + 1 }, (_, i) => i + 1)
  const fits = (period: number) =>
    windows.every((each, layer) => each === ((layer + 1) % period === 0 ? null : window))
  const period = fits(usual) ? usual : periods.find(fits)
  checkGguf(model, {
    'have layers with one window, and after as many of them one without': period !== undefined,
  })
  return {
    'attention.sliding_window': window ?? 0,
    ...(period !== usual && { 'attention.sliding_window_pattern': period as number }),
  }
}

/** No model has more layers: what states more is a broken file, which the parser of the config refuses. */
const maxLayers = 4096

/**
 * The `layer_types` of a config.json: each `period`-th layer sees all tokens, the others a window.
 * @param value a metadata key's
 * @param usual the period where none is stated
 */
export function layerTypes(value: (key: string) => unknown, usual: number): unknown {
  const period = value('attention.sliding_window_pattern') ?? usual
  const layers = Number(value('block_count'))
  // A list, which the parser refuses by name.
  if (typeof period !== 'number' || !(layers <= maxLayers)) return period
  return Array.from({ length: layers }, (_, layer) =>
    (layer + 1) % period === 0 ? 'full_attention' : 'sliding_attention',
  )
}
