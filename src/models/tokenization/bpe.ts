import { FormatError } from '../../core/errors.ts'
import { type JsonObject, show } from '../../formats/json.ts'
import { MergeTable } from './mergeTable.ts'
import type { TokenModel } from './tokenModel.ts'
import { strangerError, type TokenIds, type Vocabulary } from './vocabulary.ts'
import { byteTokens } from './wordModels.ts'

/** Words whose tokens are remembered, and how long they may be: as many as Python's library has it. */
const maxRemembered = 10_000
const maxRememberedLength = 256
/** More symbols than a text has characters. */
const maxSymbols = 2 ** 29

/**
 * Byte-pair encoding: of a word's neighbouring tokens, at first its characters, the pair of the lowest rank
 * is joined, until no pair has one. Our own code, since that of `@huggingface/tokenizers` takes most of a
 * second to be made of 150,000 tokens. Source: tokenizers, models/bpe/model.rs and word.rs.
 */
export class BpeModel implements TokenModel {
  private readonly ids: TokenIds
  private readonly merges: MergeTable
  private readonly settings: ReturnType<typeof readSettings>
  private readonly remembered = new Map<string, readonly number[]>()

  /**
   * @param model the `model` of a tokenizer.json
   * @param vocabulary its tokens, and perhaps its merges
   * @throws FormatError if a merge joins, or makes, what is no token: text would be lost
   */
  constructor(model: JsonObject, vocabulary: Vocabulary) {
    this.ids = vocabulary.ids
    this.settings = readSettings(model)
    this.merges = vocabulary.merges ?? listedMerges(model, vocabulary, this.settings.prefix.length)
  }

  tokenIds(word: string): readonly number[] {
    const known = this.remembered.get(word)
    if (known) return known
    const whole = this.settings.ignoreMerges ? this.ids.get(word) : undefined
    const found = whole === undefined ? this.join(this.characters(word)) : [whole]
    if (this.remembered.size < maxRemembered && word.length <= maxRememberedLength)
      this.remembered.set(word, found)
    return found
  }

  /** The tokens of a word's characters; what none spells becomes bytes, or the unknown token, or nothing. */
  private characters(word: string): number[] {
    const { prefix, suffix, byteFallback, fuseUnknown, unknown } = this.settings
    const found: number[] = []
    let unknownAhead = 0
    const characters = Array.from(word)
    for (const [i, character] of characters.entries()) {
      const text = (i > 0 ? prefix : '') + character + (i === characters.length - 1 ? suffix : '')
      const id = this.ids.get(text)
      const bytes = id === undefined && byteFallback ? byteTokens(text, this.ids) : undefined
      if (id !== undefined) {
        while (unknownAhead > 0) {
          found.push(this.unknownId(unknown))
          unknownAhead--
        }
        found.push(id)
      } else if (bytes) found.push(...bytes)
      else if (unknown !== '') unknownAhead = fuseUnknown ? 1 : unknownAhead + 1
    }
    while (unknownAhead-- > 0) found.push(this.unknownId(unknown))
    return found
  }

  private unknownId(unknown: string): number {
    const id = this.ids.get(unknown)
    if (id === undefined)
      throw new FormatError(`${this.settings.name}: the vocabulary must hold ${show(unknown)}; it does not`)
    return id
  }

  /** Joins pairs, the lowest rank first, of equal ones the first. */
  private join(ids: number[]): number[] {
    const count = ids.length
    const before = Int32Array.from(ids, (_, i) => i - 1)
    const after = Int32Array.from(ids, (_, i) => i + 1)
    const waiting: number[] = []
    const offer = (at: number) => {
      if (at < 0 || after[at] >= count) return
      const rank = this.merges.rank(ids[at], ids[after[at]])
      if (rank >= 0) push(waiting, rank * maxSymbols + at)
    }
    for (let at = 0; at + 1 < count; at++) offer(at)
    while (waiting.length > 0) {
      const first = pop(waiting)
      const at = first % maxSymbols
      const result = this.merges.result((first - at) / maxSymbols)
      const next = after[at]
      if (ids[at] < 0 || next >= count) continue
      // What stood here when the pair was offered may have been joined with another.
      const rank = this.merges.rank(ids[at], ids[next])
      if (rank < 0 || this.merges.result(rank) !== result) continue
      ids[at] = result
      ids[next] = -1
      after[at] = after[next]
      if (after[at] < count) before[after[at]] = at
      offer(before[at])
      offer(at)
    }
    return ids.filter((id) => id >= 0)
  }
}

function readSettings(model: JsonObject) {
  const text = (key: string) => (model.has(key) ? model.string(key) : '')
  return {
    name: model.name,
    unknown: text('unk_token'),
    prefix: text('continuing_subword_prefix'),
    suffix: text('end_of_word_suffix'),
    byteFallback: model.boolean('byte_fallback', false),
    fuseUnknown: model.boolean('fuse_unk', false),
    ignoreMerges: model.boolean('ignore_merges', false),
  }
}

/** The merges that a tokenizer.json lists. */
function listedMerges(model: JsonObject, { ids, tokenOf }: Vocabulary, prefixLength: number): MergeTable {
  const listed: unknown = model.get('merges') ?? []
  if (!Array.isArray(listed)) throw model.error('merges', 'must be a list')
  // Merges mostly stand in the order of what they make: comparing with the next token is faster than joining
  // two and looking for what comes out.
  let next = -1
  const joined = (first: string, added: string) => {
    const token = tokenOf(next) ?? ''
    const isNext =
      token.length === first.length + added.length && token.startsWith(first) && token.endsWith(added)
    return ids.get(isNext ? token : first + added)
  }
  const table = new MergeTable(listed.length)
  for (const [rank, merge] of listed.entries()) {
    const pair = pairOf(merge)
    if (!pair || pair[0] === '')
      throw new FormatError(
        `${model.name}: model.merges must be pairs of tokens; number ${rank} is ${show(merge)}`,
      )
    const [first, second] = pair
    const added = prefixLength === 0 ? second : second.slice(prefixLength)
    const left = ids.get(first)
    const right = ids.get(second)
    const result = joined(first, added)
    if (left === undefined || right === undefined || result === undefined)
      throw strangerError(model.name, ids, rank, pair, first + added)
    table.set(left, right, rank, result)
    next = result + 1
  }
  return table
}

/** A merge as a pair: older files write it as one text, with a space between. */
function pairOf(merge: unknown): readonly [string, string] | undefined {
  if (typeof merge === 'string') {
    const space = merge.indexOf(' ')
    return space < 0 || merge.includes(' ', space + 1)
      ? undefined
      : [merge.slice(0, space), merge.slice(space + 1)]
  }
  const isPair =
    Array.isArray(merge) && merge.length === 2 && typeof merge[0] === 'string' && typeof merge[1] === 'string'
  return isPair ? [merge[0], merge[1]] : undefined
}

/** Puts a number onto a heap, the least of which is first. */
function push(heap: number[], value: number): void {
  let at = heap.length
  heap.push(value)
  while (at > 0) {
    const above = (at - 1) >> 1
    if (heap[above] <= value) break
    heap[at] = heap[above]
    at = above
  }
  heap[at] = value
}

/** Takes the least number from a heap that is not empty. */
function pop(heap: number[]): number {
  const [least] = heap
  const last = heap.pop() as number
  if (heap.length === 0) return least
  let at = 0
  for (;;) {
    let below = 2 * at + 1
    if (below >= heap.length) break
    if (below + 1 < heap.length && heap[below + 1] < heap[below]) below++
    if (heap[below] >= last) break
    heap[at] = heap[below]
    at = below
  }
  heap[at] = last
  return least
}
