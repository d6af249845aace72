/** Strings as GGUF lists them: each a uint64 length, and as many bytes. */
export interface StringList {
  readonly bytes: Uint8Array
  /** Where each ends, as its checked length says. */
  readonly ends: Uint32Array
}

/** Bytes of a string's length. */
const lengthBytes = 8

/** The bytes of one of a list's strings. */
export function stringBytes({ bytes, ends }: StringList, index: number): Uint8Array {
  return bytes.subarray((index === 0 ? 0 : ends[index - 1]) + lengthBytes, ends[index])
}

/** Strings as UTF-8, one behind the other, and where each ends. */
export interface ByteStrings {
  readonly bytes: Uint8Array
  readonly ends: Uint32Array
}

/** Those of a list, with what `instead` gives in the place of empty ones. */
export function byteStrings(list: StringList, instead: (index: number) => string): ByteStrings {
  const all = joined(list)
  if (!all.hasEmpty && isUtf8(all)) return all
  return encoded(decodeStrings(list).map((text, index) => text || instead(index)))
}

interface JoinedStrings extends ByteStrings {
  /** Whether one begins within a character. */
  readonly cut: boolean
  readonly hasEmpty: boolean
}

function joined({ bytes: list, ends: stops }: StringList): JoinedStrings {
  const count = stops.length
  const bytes = new Uint8Array(list.length - lengthBytes * count)
  const ends = new Uint32Array(count)
  let [at, end, cut, hasEmpty] = [0, 0, false, false]
  for (let i = 0; i < count; i++) {
    at += lengthBytes
    const stop = stops[i]
    hasEmpty ||= at === stop
    cut ||= at < stop && (list[at] & 0xc0) === 0x80
    while (at < stop) bytes[end++] = list[at++]
    ends[i] = end
  }
  return { bytes, ends, cut, hasEmpty }
}

/** Bytes that are decoded at once where the text is not wanted: a large text would be large garbage. */
const decodedTogether = 2 ** 16

/** Whether each string is UTF-8. */
function isUtf8({ bytes, cut }: JoinedStrings): boolean {
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
