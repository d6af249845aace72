import { FormatError } from '../core/errors.ts'

/** A field of a message: a whole number, or the bytes of a text, a float or another message. */
export interface ProtobufField {
  readonly number: number
  readonly value: number | Uint8Array
}

const wholeNumber = 0
const lengths: Readonly<Record<number, number>> = { 1: 8, 5: 4 }
const counted = 2
/** A number of 64 bits, seven in a byte. */
const maxVarintBytes = 10

/**
 * The fields of a protobuf message, in their order.
 * Source: protobuf.dev/programming-guides/encoding.
 * @throws FormatError if a length reaches beyond the end, or a field is of a kind that is no longer in use
 */
export function* protobufFields(bytes: Uint8Array, name: string): Generator<ProtobufField> {
  let at = 0
  const varint = (): number => {
    let value = 0n
    for (let i = 0; i < maxVarintBytes; i++) {
      if (at >= bytes.length) throw new FormatError(`${name}: a number must end within the file; it does not`)
      const byte = bytes[at++]
      value |= BigInt(byte & 0x7f) << BigInt(7 * i)
      if (byte < 0x80) return Number(BigInt.asIntN(64, value))
    }
    throw new FormatError(`${name}: a number must have at most ${maxVarintBytes} bytes; one has more`)
  }
  while (at < bytes.length) {
    const tag = varint()
    const [number, kind] = [Math.floor(tag / 8), tag & 7]
    if (kind === wholeNumber) {
      yield { number, value: varint() }
      continue
    }
    const length = kind === counted ? varint() : lengths[kind]
    if (length === undefined)
      throw new FormatError(`${name}: a field must be a number or have a length; one is of kind ${kind}`)
    if (length < 0 || length > bytes.length - at) {
      throw new FormatError(
        `${name}: a field must lie within the ${bytes.length} bytes of its message; one has ${length} from byte ${at} on`,
      )
    }
    yield { number, value: bytes.subarray(at, at + length) }
    at += length
  }
}
