import { FormatError } from '../../core/errors.ts'
import { type JsonObject, show } from '../../formats/json.ts'
import type { AddedToken } from '../addedTokens.ts'
import type { MergeTable } from './mergeTable.ts'

/** Larger than any published vocabulary. */
const maxVocabularySize = 2 ** 24

/** The ids of tokens by their texts. */
export type TokenIds = Pick<ReadonlyMap<string, number>, 'get' | 'has'>

/** A tokenizer's tokens, and their ids. */
export interface Vocabulary {
  /** Those of the model, without those that are only added. */
  readonly ids: TokenIds
  readonly added: readonly AddedToken[]
  /** One more than the largest id. */
  readonly size: number
  /** The token of an id, an added one too; undefined where there is none. */
  tokenOf(id: number): string | undefined
  /** The pairs that are joined, where they need not be read from a tokenizer.json. */
  readonly merges?: MergeTable
}

/** The error for a pair, the `rank`-th of its list, that joins or makes what is no token. */
export function strangerError(
  name: string,
  ids: TokenIds,
  rank: number,
  [first, second]: readonly [string, string],
  joined = first + second,
): FormatError {
  const stranger = show([first, second, joined].find((token) => !ids.has(token)))
  const merge = show([first, second])
  return new FormatError(
    `${name}: model.merges must make tokens of the vocabulary of two others; ${stranger} in number ${rank}, ` +
      `${merge}, is none`,
  )
}

/** A tokenizer.json, parsed, and its vocabulary. */
export interface TokenizerParts {
  readonly json: { readonly model: object }
  readonly vocabulary: Vocabulary
}

/**
 * The vocabulary of a tokenizer.json.
 * @throws FormatError naming a token whose id is none, or if there is no vocabulary
 */
export function readVocabulary(json: JsonObject): Vocabulary & { ids: ReadonlyMap<string, number> } {
  const ids = new Map<string, number>()
  let size = 0
  const checked = (token: string, id: unknown) => {
    checkTokenId(json.name, token, id)
    size = Math.max(size, id + 1)
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
      ids.set(token, checked(token, id))
    }
  // Not Object.entries: a hundred thousand pairs are not worth their memory.
  else for (const token in listed) ids.set(token, checked(token, Reflect.get(listed, token)))
  const added = addedTokens(json)
  for (const token of added) {
    if (typeof token?.content !== 'string')
      throw new FormatError(`${json.name}: added_tokens must have a content; received ${show(token)}`)
    checked(token.content, token.id)
  }
  let tokens: (string | undefined)[] | undefined
  const tokenOf = (id: number) => {
    tokens ??= tokensById(ids, added, size)
    return tokens[id]
  }
  return { ids, added, size, tokenOf }
}

/** The tokens by id, added ones too: a list with holes where no token has the id. */
function tokensById(
  ids: ReadonlyMap<string, number>,
  added: readonly AddedToken[],
  size: number,
): (string | undefined)[] {
  // A list that is mostly holes would take memory for them.
  const tokens: (string | undefined)[] = size < 2 * ids.size + 2 ** 16 ? new Array(size) : []
  for (const [token, id] of ids) tokens[id] = token
  for (const { content, id } of added) tokens[id] = content
  return tokens
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
