import { type SaveOptions, save as saveModel } from '../checkpoints/save.ts'
import type { FolderSink } from '../formats/source.ts'
import type { Module } from '../nn/module.ts'
import { CausalLM } from './causalLM.ts'
import { modelWriterFor } from './modelWriters.ts'

/**
 * Saves a model, a language model in Hugging Face layout, its quantized modules as `format` stores them, so
 * that Python's readers of the format read the folder; with `gguf` it is one file, which llama.cpp reads. It
 * appears whole or not at all.
 * @param target a path, or a folder to write into (then file by file)
 * @returns bytes written
 * @throws FormatError if quantized layers are not frozen, the target holds files (with `overwrite`: other
 * files than a save's) or cannot be written, the format cannot hold the model, or a tensor holds NaN or
 * infinity
 */
export async function save(
  model: Module,
  target: string | FolderSink,
  options: SaveOptions = {},
): Promise<number> {
  return saveModel(model, target, options, async (container) =>
    model instanceof CausalLM ? modelWriterFor(container, model) : undefined,
  )
}
