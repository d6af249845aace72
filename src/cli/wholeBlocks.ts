import { several } from '../core/lists.ts'
import type { CausalLM } from '../models/causalLM.ts'
import { weightColumns } from '../nn/twins.ts'
import { isQuantizable } from '../quantize/quantize.ts'
import { Tensor } from '../tensor/tensor.ts'
import type { QuantizeCommandOptions } from './quantize.ts'

/** Columns of the smallest of GGUF's blocks. */
const smallest = 32

/** The options; of a GGUF file with layers of other columns left float, of which a warning tells. */
export function withWholeBlocks(model: CausalLM, options: QuantizeCommandOptions): QuantizeCommandOptions {
  if (options.format !== 'gguf') return options
  const floats: string[] = []
  for (const [path, module] of model.namedModules()) {
    const { weight } = module as { weight?: unknown }
    if (!(weight instanceof Tensor) || !isQuantizable(module)) continue
    if (weightColumns(module, weight) % smallest !== 0) floats.push(path)
  }
  if (floats.length > 0)
    console.warn(
      `lowbit: quantize: the columns of ${several(floats)} are no whole blocks of ${smallest}; they stay float`,
    )
  const overrides = { ...Object.fromEntries(floats.map((path) => [path, null])), ...options.overrides }
  return { ...options, overrides }
}
