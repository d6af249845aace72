import type * as Library from '@huggingface/tokenizers'
import { FormatError } from '../../core/errors.ts'
import type { JsonObject } from '../../formats/json.ts'
import { makeParts } from './library.ts'
import type { TokenModel } from './tokenModel.ts'
import type { TokenIds } from './vocabulary.ts'

/** WordPiece: the longest tokens, from the left on. */
export class WordPieceModel implements TokenModel {
  private readonly encode: (word: string) => string[]
  private readonly ids: TokenIds

  constructor(library: typeof Library, model: JsonObject, ids: TokenIds) {
    this.encode = encoder(library, model)
    this.ids = ids
  }

  tokenIds(word: string): readonly number[] {
    return this.encode(word).map((token) => this.ids.get(token) as number)
  }
}

/** Unigram: of all ways to spell a word, the likeliest; what no token spells is unknown, or becomes bytes. */
export class UnigramModel implements TokenModel {
  private readonly encode: (word: string) => string[]
  private readonly ids: TokenIds
  private readonly unknown: number | null
  private readonly byteFallback: boolean
  private readonly name: string

  constructor(library: typeof Library, model: JsonObject, ids: TokenIds) {
    this.encode = encoder(library, model)
    this.ids = ids
    this.unknown = model.has('unk_id') ? model.count('unk_id') : null
    this.byteFallback = model.boolean('byte_fallback', false)
    this.name = model.name
  }

  tokenIds(word: string): readonly number[] {
    const found: number[] = []
    // Neighbours that are unknown are one.
    let stranger = ''
    for (const token of this.encode(word)) {
      const id = this.ids.get(token)
      if (id === undefined || id === this.unknown) stranger += token
      else {
        if (stranger !== '') found.push(...this.strangerIds(stranger))
        stranger = ''
        found.push(id)
      }
    }
    if (stranger !== '') found.push(...this.strangerIds(stranger))
    return found
  }

  private strangerIds(text: string): number[] {
    // The unknown token itself, spelled out.
    const own = this.ids.get(text)
    if (own !== undefined) return [own]
    if (this.byteFallback) {
      const bytes = byteTokens(text, this.ids)
      if (bytes) return bytes
    }
    if (this.unknown === null)
      throw new FormatError(
        `${this.name}: model.unk_id must name the token of what is unknown; it names none`,
      )
    return [this.unknown]
  }
}

/** The tokens `<0x41>` of a text's bytes, where the vocabulary has them all. */
export function byteTokens(text: string, ids: TokenIds): number[] | undefined {
  const found = Array.from(new TextEncoder().encode(text), (byte) =>
    ids.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
  )
  return found.every((id) => id !== undefined) ? found : undefined
}

function encoder(library: typeof Library, model: JsonObject): (word: string) => string[] {
  const made = makeParts(library, { model: model.toObject() }).model
  return (word) => made.encode([word])
}
