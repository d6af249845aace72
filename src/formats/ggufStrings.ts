/** Strings as GGUF lists them: each a uint64 length, and as many bytes; lengths were checked. */
interface StringList {
  readonly count: number
  readonly bytes: Uint8Array
}

/** Strings as UTF-8, one behind the other, and where each ends. */
export interface ByteStrings {
  readonly bytes: Uint8Array
  readonly ends: Uint32Array
}

/** Those of a list, with what `instead` gives in the place of empty ones. */
export function byteStrings(list: StringList, instead: (index: number) => string): ByteStrings {
  const all = joined(list)
  const hasEmpty = all.ends.some((end, i) => end === (i === 0 ? 0 : all.ends[i - 1]))
  if (!hasEmpty && isUtf8(all)) return all
  return encoded(decodeStrings(list).map((text, index) => text || instead(index)))
}

/** The bytes of a list's strings, and whether one begins within a character. */
function joined({ count, bytes: list }: StringList): ByteStrings & { cut: boolean } {
  const view = new DataView(list.buffer, list.byteOffset, list.byteLength)
  const bytes = new Uint8Array(list.length - 8 * count)
  const ends = new Uint32Array(count)
  let [at, end, cut] = [0, 0, false]
  for (let i = 0; i < count; i++) {
    const length = view.getUint32(at, true)
    at += 8
    cut ||= length > 0 && (list[at] & 0xc0) === 0x80
    for (const stop = at + length; at < stop; at++) bytes[end++] = list[at]
    ends[i] = end
  }
  return { bytes, ends, cut }
}

/** Bytes that are decoded at once where the text is not wanted: a large text would be large garbage. */
const decodedTogether = 2 ** 16

/** Whether each string is UTF-8. */
function isUtf8({ bytes, cut }: ReturnType<typeof joined>): boolean {
  // Characters may not continue over two strings: together they might be valid where each is not.
  if (cut) return false
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  try {
    for (let start = 0; start < bytes.length; start += decodedTogether)
      decoder.decode(bytes.subarray(start, start + decodedTogether), { stream: true })
    decoder.decode()
    return true
  } catch {
    return false
  }
}

function encoded(strings: readonly string[]): ByteStrings {
  const each = strings.map((text) => new TextEncoder().encode(text))
  const bytes = new Uint8Array(each.reduce((sum, { length }) => sum + length, 0))
  const ends = new Uint32Array(each.length)
  let end = 0
  for (const [i, one] of each.entries()) {
    bytes.set(one, end)
    end += one.length
    ends[i] = end
  }
  return { bytes, ends }
}

/**
 * All strings at once: their bytes joined and decoded in one call, which is many times faster than one by
 * one, then cut.
 */
export function decodeStrings(list: StringList): string[] {
  const all = joined(list)
  const { bytes, ends } = all
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  if (!isUtf8(all))
    return Array.from(ends, (end, i) => decoder.decode(bytes.subarray(i === 0 ? 0 : ends[i - 1], end)))
  const text = decoder.decode(bytes)
  let [at, unit] = [0, 0]
  return Array.from(ends, (end) => {
    const start = unit
    for (; at < end; at++) if ((bytes[at] & 0xc0) !== 0x80) unit += bytes[at] < 0xf0 ? 1 : 2
    return text.slice(start, unit)
  })
}
