import { schemeToWrite } from '../checkpoints/save.ts'
import { layersToWrite } from '../checkpoints/savedTensors.ts'
import type { CausalLM } from '../models/causalLM.ts'
import { save } from '../models/save.ts'
import { interrupted } from './interrupt.ts'
import { progressBar } from './output.ts'
import type { QuantizeCommandOptions } from './quantize.ts'

/** Saves what was quantized. @returns the bytes that were written, and the format they are in */
export async function saveQuantized(
  model: CausalLM,
  options: QuantizeCommandOptions,
): Promise<{ bytes: number; format: string }> {
  const { format, overwrite, out } = options
  const bar = await progressBar('save', options)
  const bytes = await save(model, out, {
    format,
    overwrite,
    signal: interrupted,
    onProgress: bar.update,
  }).finally(bar.stop)
  const { name } = await schemeToWrite(format, await layersToWrite(model))
  return { bytes, format: name }
}
