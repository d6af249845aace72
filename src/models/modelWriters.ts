import type { FloatDType } from '../core/dtype.ts'
import { type Container, ggufFile } from '../formats/containers.ts'
import type { GgufValue } from '../formats/ggufWriter.ts'
import type { ModelWriter } from '../formats/modelWriter.ts'
import type { CausalLM } from './causalLM.ts'

type Notes = ReadonlyMap<string, GgufValue>

type MakeWriter = (model: CausalLM, floats?: FloatDType, notes?: Notes) => Promise<ModelWriter>

/** Loaded when used: whoever writes none of them need not wait for what does. */
const writers: ReadonlyMap<Container, MakeWriter> = new Map([
  [
    ggufFile,
    async (model, floats, notes) => (await import('./ggufWriter.ts')).ggufModelWriter(model, floats, notes),
  ],
])

/**
 * What writes a model into a container under other names than its own; undefined of a folder, as `save`
 * writes it.
 * @param floats what matrices become that are floats; default: as the model has them
 * @param notes what a file says of itself besides, in GGUF's words
 */
export async function modelWriterFor(
  container: Container,
  model: CausalLM,
  floats?: FloatDType,
  notes?: Notes,
): Promise<ModelWriter | undefined> {
  return writers.get(container)?.(model, floats, notes)
}
