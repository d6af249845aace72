import type { ByteStrings } from '../../formats/ggufStrings.ts'
import { randomWord } from './mergeTable.ts'
import type { TokenIds } from './vocabulary.ts'

/** Tokens that are entered in one step. */
const tokensTogether = 2 ** 14

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/**
 * Tokens by their UTF-8, and ids by tokens: a hash table in typed arrays. As strings in a Map, 150,000 tokens
 * take ten times the memory, and most of half a second to be made.
 */
export class TokenTable implements TokenIds {
  /** How many tokens there are. */
  readonly size: number
  private readonly bytes: Uint8Array
  private readonly ends: Uint32Array
  /** Ids by hash, −1 where there is none: of equal hashes in the slots that follow. */
  private readonly slots: Int32Array
  private readonly mask: number
  /** Where hashes begin: by chance, so that no file can choose tokens that all fall into the same slots. */
  private readonly seed = randomWord()
  /** What is looked for, as bytes. */
  private sought = new Uint8Array(256)

  private constructor({ bytes, ends }: ByteStrings) {
    this.bytes = bytes
    this.ends = ends
    this.size = ends.length
    const slots = 2 ** Math.ceil(Math.log2(2 * ends.length + 2))
    this.mask = slots - 1
    this.slots = new Int32Array(slots).fill(-1)
  }

  /**
   * Makes a table in steps of some milliseconds.
   * @param strings the tokens by id
   * @param fail makes the error for one that has two ids
   */
  static *inSteps(
    strings: ByteStrings,
    fail: (token: string, first: number, second: number) => Error,
  ): Generator<void, TokenTable> {
    const table = new TokenTable(strings)
    for (let first = 0; first < table.size; first += tokensTogether) {
      if (first > 0) yield
      const twin = table.add(first, Math.min(first + tokensTogether, table.size))
      if (twin) throw fail(table.tokenOf(twin.second) as string, twin.first, twin.second)
    }
    return table
  }

  /** Enters the tokens of some ids; gives the first that is there already, with the id that it has. */
  private add(from: number, to: number): { first: number; second: number } | null {
    const { bytes, ends, slots } = this
    for (let id = from, start = this.startOf(from); id < to; start = ends[id++]) {
      const slot = this.slotOf(bytes, start, ends[id])
      if (slots[slot] >= 0) return { first: slots[slot], second: id }
      slots[slot] = id
    }
    return null
  }

  get(token: string): number | undefined {
    const length = this.encode(token)
    const id = this.idAt(this.sought, 0, length)
    return id < 0 ? undefined : id
  }

  /** Writes the bytes of a token into `sought`; gives their number. */
  private encode(token: string): number {
    const { length } = token
    // A UTF-16 unit takes at most three bytes.
    if (this.sought.length < 3 * length) this.sought = new Uint8Array(3 * length)
    for (let i = 0; i < length; i++) {
      const unit = token.charCodeAt(i)
      // A call of the encoder takes longer than most tokens.
      if (unit >= 0x80) return encoder.encodeInto(token, this.sought).written
      this.sought[i] = unit
    }
    return length
  }

  has(token: string): boolean {
    return this.get(token) !== undefined
  }

  /** The id of the token that bytes `start` to `end` (exclusive) spell; −1 if they spell none. */
  idAt(bytes: Uint8Array, start: number, end: number): number {
    return this.slots[this.slotOf(bytes, start, end)]
  }

  /**
   * As `idAt`, of a token without the byte at `cut`.
   * @param likely the id that it probably has: comparing is faster than looking
   */
  joinedAt(bytes: Uint8Array, start: number, cut: number, end: number, likely: number): number {
    if (likely < this.size && this.ends[likely] - this.startOf(likely) === end - start - 1) {
      const first = this.startOf(likely)
      if (
        this.continues(first, bytes, start, cut) &&
        this.continues(first + cut - start, bytes, cut + 1, end)
      )
        return likely
    }
    if (this.sought.length < end - start) this.sought = new Uint8Array(end - start)
    let length = 0
    for (let at = start; at < end; at++) if (at !== cut) this.sought[length++] = bytes[at]
    return this.idAt(this.sought, 0, length)
  }

  /** The tokens by id. */
  *[Symbol.iterator](): Generator<string> {
    for (let id = 0; id < this.size; id++) yield this.tokenOf(id) as string
  }

  /** The token of an id; undefined if there is none. */
  tokenOf(id: number): string | undefined {
    const end = this.ends[id]
    return end === undefined ? undefined : decoder.decode(this.bytes.subarray(this.startOf(id), end))
  }

  private startOf(id: number): number {
    return id === 0 ? 0 : this.ends[id - 1]
  }

  /** Where the token stands, or would. */
  private slotOf(bytes: Uint8Array, start: number, end: number): number {
    // FNV-1a, from a beginning of our own.
    let slot = this.seed
    for (let at = start; at < end; at++) slot = Math.imul(slot ^ bytes[at], 0x01000193)
    slot ^= slot >>> 15
    for (slot &= this.mask; ; slot = (slot + 1) & this.mask) {
      const id = this.slots[slot]
      if (id < 0 || this.equals(id, bytes, start, end)) return slot
    }
  }

  private equals(id: number, bytes: Uint8Array, start: number, end: number): boolean {
    const first = this.startOf(id)
    return this.ends[id] - first === end - start && this.continues(first, bytes, start, end)
  }

  /** Whether bytes `start` to `end` stand from `first` on, too. */
  private continues(first: number, bytes: Uint8Array, start: number, end: number): boolean {
    for (let at = start; at < end; at++) if (this.bytes[first + at - start] !== bytes[at]) return false
    return true
  }
}
