import { FormatError } from '../core/errors.ts'
import { type GgufFile, openGguf } from './gguf.ts'
import { show } from './json.ts'
import type { ByteSource } from './source.ts'

/**
 * A GGUF file with the others of its model, if it is one of several: they lie beside it as
 * `NAME-00001-of-00003.gguf`, and the first holds the metadata. Takes over `file`.
 * Source: llama.cpp, tools/gguf-split.
 * @param open the part of that number, from 1; absent where there is nothing beside
 * @throws FormatError if the others are not there, or hold a tensor twice
 */
export async function withOtherParts(
  file: GgufFile,
  open?: (part: number) => Promise<ByteSource>,
): Promise<GgufFile> {
  const named = /-(\d{5})-of-(\d{5})\.gguf$/i.exec(file.name)
  const parts: GgufFile[] = []
  try {
    const count = file.metadata.count('split.count', Number(named?.[2] ?? 1))
    if (count <= 1) return file
    if (!named || Number(named[2]) !== count || !open) {
      throw new FormatError(
        `${file.name}: it is one of ${count} files of a split model, so all must be given by path or URL, side by side and named as NAME-00001-of-${digits(count)}.gguf`,
      )
    }
    for (let part = 1; part <= count; part++) {
      parts.push(part === Number(named[1]) ? file : await openGguf(await open(part)))
    }
    return join(parts)
  } catch (cause) {
    await Promise.all([file, ...parts.filter((part) => part !== file)].map((part) => part.close()))
    if (cause instanceof FormatError && cause.message.startsWith(file.name)) throw cause
    throw new FormatError(
      `${file.name}: the other files of the split model must lie beside it; ${cause instanceof Error ? cause.message : cause}`,
      {
        cause,
      },
    )
  }
}

/** The path or URL of another part, from that of one; a query stays. */
export function placeOfPart(place: string, part: number): string {
  return place.replace(/-\d{5}(-of-\d{5}\.gguf(?:[?#].*)?)$/is, `-${digits(part)}$1`)
}

function digits(part: number): string {
  return String(part).padStart(5, '0')
}

/** The parts as one file. */
function join(parts: readonly GgufFile[]): GgufFile {
  const [first] = parts
  const holders = new Map<string, GgufFile>()
  for (const part of parts) {
    for (const tensor of [...part.tensors.keys(), ...part.unknown.keys()]) {
      const other = holders.get(tensor)
      if (other) {
        throw new FormatError(
          `${part.name}: tensor ${show(tensor)} must be in one file of the split model; ${other.name} has it, too`,
          {
            tensor,
          },
        )
      }
      holders.set(tensor, part)
    }
  }
  // What no part holds is said by the first.
  const holder = (tensor: string) => holders.get(tensor) ?? first
  return {
    name: first.name,
    metadata: first.metadata,
    tensors: new Map(parts.flatMap(({ tensors }) => [...tensors])),
    unknown: new Map(parts.flatMap(({ unknown }) => [...unknown])),
    read: (tensor) => holder(tensor).read(tensor),
    readRows: (tensor, ...rows) => holder(tensor).readRows(tensor, ...rows),
    readBytes: (tensor, ...bytes) => holder(tensor).readBytes(tensor, ...bytes),
    async close() {
      await Promise.all(parts.map((part) => part.close()))
    },
  }
}
