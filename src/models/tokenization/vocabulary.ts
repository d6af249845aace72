import { FormatError } from '../../core/errors.ts'
import { type JsonObject, show } from '../../formats/json.ts'
import type { AddedToken } from '../addedTokens.ts'

/** Larger than any published vocabulary. */
const maxVocabularySize = 2 ** 24

/** A tokenizer's tokens by id, and their ids. */
export interface Vocabulary {
  /** Those of the model, without those that are only added. */
  readonly ids: ReadonlyMap<string, number>
  /** By id, added ones too; a list with holes where no token has the id. */
  readonly tokens: readonly (string | undefined)[]
  readonly added: readonly AddedToken[]
}

/**
 * The vocabulary of a tokenizer.json.
 * @throws FormatError naming a token whose id is none, or if there is no vocabulary
 */
export function readVocabulary(json: JsonObject): Vocabulary {
  const ids = new Map<string, number>()
  const tokens: (string | undefined)[] = []
  const put = (token: string, id: unknown) => {
    checkTokenId(json.name, token, id)
    tokens[id] = token
    return id
  }
  const model: unknown = json.get('model')
  const listed: unknown =
    typeof model === 'object' && model !== null && 'vocab' in model ? model.vocab : undefined
  if (typeof listed !== 'object' || listed === null) {
    throw new FormatError(
      `${json.name}: must be a tokenizer of Hugging Face's format; its model has no vocab`,
    )
  }
  // Unigram models list their tokens, each with its score: the place in the list is the id.
  if (Array.isArray(listed))
    for (const [id, entry] of listed.entries()) {
      const token: unknown = Array.isArray(entry) ? entry[0] : undefined
      if (typeof token !== 'string')
        throw new FormatError(
          `${json.name}: model.vocab must list tokens with their scores; number ${id} is ${show(entry)}`,
        )
      ids.set(token, put(token, id))
    }
  // Not Object.entries: a hundred thousand pairs are not worth their memory.
  else for (const token in listed) ids.set(token, put(token, Reflect.get(listed, token)))
  const added = addedTokens(json)
  for (const token of added) {
    if (typeof token?.content !== 'string')
      throw new FormatError(`${json.name}: added_tokens must have a content; received ${show(token)}`)
    put(token.content, token.id)
  }
  return { ids, tokens, added }
}

function checkTokenId(name: string, token: string, id: unknown): asserts id is number {
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
