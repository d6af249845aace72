import { FormatError } from '../core/errors.ts'
import { type JsonObject, show } from '../formats/json.ts'
import type { AddedToken } from './addedTokens.ts'

/** Larger than any published vocabulary. */
const maxVocabularySize = 2 ** 24

/**
 * The largest token id. The library keeps tokens in arrays by id and walks them: a huge id would keep it busy
 * for minutes.
 * @throws FormatError naming the token, or if there is no vocabulary
 */
export function largestTokenId(json: JsonObject): number {
  let largest = -1
  const check = (token: unknown, id: unknown) => {
    checkTokenId(json.name, token, id)
    largest = Math.max(largest, Number(id))
  }
  for (const token of addedTokens(json)) {
    check(token?.content, token?.id)
    if (typeof token.content !== 'string')
      throw new FormatError(`${json.name}: added_tokens must have a content; received ${show(token)}`)
  }
  const model: unknown = json.get('model')
  const vocabulary: unknown =
    typeof model === 'object' && model !== null && 'vocab' in model ? model.vocab : undefined
  if (typeof vocabulary !== 'object' || vocabulary === null) {
    throw new FormatError(
      `${json.name}: must be a tokenizer of Hugging Face's format; its model has no vocab`,
    )
  }
  // Unigram models list their tokens: the place in the list is the id.
  if (Array.isArray(vocabulary)) return Math.max(largest, vocabulary.length - 1)
  // Not Object.entries: a hundred thousand pairs are not worth their memory.
  for (const token in vocabulary) check(token, Reflect.get(vocabulary, token))
  return largest
}

function checkTokenId(name: string, token: unknown, id: unknown): void {
  if (typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < maxVocabularySize) return
  throw new FormatError(
    `${name}: the id of ${show(token)} must be a whole number below ${maxVocabularySize}; received ${show(id)}`,
  )
}

/** The added tokens of a tokenizer.json whose ids are sound. */
export function addedTokens(json: JsonObject): AddedToken[] {
  const listed = json.get('added_tokens')
  return Array.isArray(listed) ? listed : []
}

/**
 * What Python's tokenizers refuses and the library does not: merges of, or into, what is no token would lose
 * text.
 * @throws FormatError naming the merge
 */
export function checkBpe(json: JsonObject): void {
  const model = json.object('model')
  if (model.string('type', 'BPE') !== 'BPE' || !model.has('merges')) return
  const merges: unknown = model.get('merges')
  if (!Array.isArray(merges)) throw model.error('merges', 'must be a list')
  // In files the library reads no prefix either; none of the supported architectures has one.
  if (model.string('continuing_subword_prefix', '') !== '')
    throw model.error('continuing_subword_prefix', 'must be null or ""')
  const vocabulary = model.get('vocab') as object
  for (const [i, merge] of merges.entries()) {
    const pair: unknown = typeof merge === 'string' ? merge.split(' ') : merge
    if (
      !Array.isArray(pair) ||
      pair.length !== 2 ||
      typeof pair[0] !== 'string' ||
      typeof pair[1] !== 'string'
    ) {
      throw new FormatError(
        `${json.name}: model.merges must be pairs of tokens; number ${i} is ${show(merge)}`,
      )
    }
    const stranger = [pair[0], pair[1], pair[0] + pair[1]].find((token) => !Object.hasOwn(vocabulary, token))
    if (stranger === undefined) continue
    throw new FormatError(
      `${json.name}: model.merges must make tokens of the vocabulary of two others; ${show(stranger)} in number ${i}, ${show(merge)}, is none`,
    )
  }
}
