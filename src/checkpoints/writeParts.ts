import type { ModelWriter, PlacedTensors } from '../formats/modelWriter.ts'
import type { FolderSink } from '../formats/source.ts'
import { cast } from '../tensor/ops/index.ts'
import { keep, scope } from '../tensor/scope.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { SavedPart } from './savedTensors.ts'

/** Where the parts of a model go, and as what. */
export interface Places {
  readonly placed: PlacedTensors
  /** What a part's values become on their way; null: they go as they are. */
  change(part: SavedPart): ((values: Tensor) => Tensor) | null
}

/** Lays out the files for the parts of a model. */
export async function placeParts(
  folder: FolderSink,
  parts: readonly SavedPart[],
  writer: ModelWriter,
): Promise<Places> {
  const adapted = new Map(parts.map((part) => [part, writer.adapt?.(part) ?? {}]))
  const heads = [...adapted].map(([{ name, dtype, shape }, to]) => {
    return { name, dtype: to.dtype ?? dtype, shape: to.shape ?? shape }
  })
  return {
    placed: await writer.place(folder, heads),
    change(part) {
      const { dtype, arrange } = adapted.get(part) ?? {}
      if (!arrange && (dtype ?? part.dtype) === part.dtype) return null
      return (values) => {
        const floats = dtype ? cast(values, dtype) : values
        return arrange ? arrange(floats) : floats
      }
    },
  }
}

/** Bytes that are read from the device at a time. */
const pieceBytes = 2 ** 21

/** Writes a part, as what its place wants it to be. */
export function writePart(part: SavedPart, { placed, change }: Places): Promise<void> {
  const changed = change(part)
  return part.use(async (values) => {
    if (!changed) return writeTensor(part.name, 0, values, placed)
    const made = scope(() => keep(changed(values)))
    await writeTensor(part.name, 0, made, placed).finally(() => made.dispose())
  })
}

/** Puts values where a tensor's bytes stand in the files, from byte `first` of it on. */
export async function writeTensor(
  name: string,
  first: number,
  { device, storage, byteOffset, byteLength }: Tensor,
  placed: PlacedTensors,
): Promise<void> {
  const buffer = new Uint8Array(Math.min(pieceBytes, byteLength))
  for (let start = 0; start < byteLength; start += pieceBytes) {
    const length = Math.min(pieceBytes, byteLength - start)
    const region = { storage, byteOffset: byteOffset + start }
    await placed.put(name, first + start, await device.read(region, length, buffer))
  }
}
