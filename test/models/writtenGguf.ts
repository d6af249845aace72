import { layersToWrite, writtenTensors } from '../../src/checkpoints/savedTensors.ts'
import { ggufFile } from '../../src/formats/containers.ts'
import type { SchemeWriter } from '../../src/formats/schemes/scheme.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { ggufModelWriter } from '../../src/models/ggufWriter.ts'
import { cast } from '../../src/tensor/ops/index.ts'
import { keep, scope } from '../../src/tensor/scope.ts'

/** The GGUF file of a model, its quantized layers as the scheme writes them. */
export async function writtenGguf(model: CausalLM, scheme: SchemeWriter): Promise<Uint8Array<ArrayBuffer>> {
  const writer = ggufModelWriter(model)
  const parts = [...writtenTensors(model, scheme, await layersToWrite(model))]
  const adapted = parts.map((part) => ({ part, to: writer.adapt?.(part) ?? {} }))
  const heads = adapted.map(({ part: { name, dtype, shape }, to }) => ({
    name,
    dtype: to.dtype ?? dtype,
    shape: to.shape ?? shape,
  }))
  const files = new Map<string, Uint8Array>()
  const placed = await writer.place(memoryFolder(files), heads)
  for (const { part, to } of adapted) {
    await part.use(async (values) => {
      const made = scope(() => {
        const floats = to.dtype ? cast(values, to.dtype) : values
        return keep(to.arrange ? to.arrange(floats) : floats.clone())
      })
      const { device, storage, byteOffset, byteLength } = made
      await placed.put(part.name, 0, await device.read({ storage, byteOffset }, byteLength))
      made.dispose()
    })
  }
  await placed.close()
  return files.get(ggufFile.file) as Uint8Array<ArrayBuffer>
}
