import type * as Library from '@huggingface/tokenizers'
import { JsonObject } from '../../formats/json.ts'
import { decodeBytes, decodeByteTokens } from './byteLevel.ts'
import { makeParts } from './library.ts'

/** Turns tokens into texts, whose join is the text. */
export type Decode = (tokens: string[]) => string[]

/**
 * The `decoder` of a tokenizer.json.
 * What spells bytes is our own code: the library looks each token up in the list of all added ones, and has
 * another number of U+FFFD for bytes that are no text.
 * Source: tokenizers, decoders and pre_tokenizers.
 */
export function decoder(library: typeof Library, rule: JsonObject): Decode {
  switch (rule.string('type')) {
    case 'Sequence': {
      const listed: unknown = rule.get('decoders')
      const steps = (Array.isArray(listed) ? listed : []).map((each) =>
        decoder(library, new JsonObject(each, rule.name, 'decoder')),
      )
      return (tokens) => steps.reduce((texts, step) => step(texts), tokens)
    }
    case 'ByteLevel':
      return (tokens) => [decodeBytes(tokens)]
    case 'ByteFallback':
      return decodeByteTokens
    case 'Metaspace': {
      const mark = rule.string('replacement', '▁')
      const begins =
        rule.string('prepend_scheme', rule.boolean('add_prefix_space', true) ? 'always' : 'never') !== 'never'
      return (tokens) => tokens.map((token, i) => token.replaceAll(mark, i === 0 && begins ? '' : ' '))
    }
    default: {
      const made = makeParts(library, { decoder: rule.toObject() }).decoder
      return (tokens) => made?.decode_chain(tokens) ?? tokens
    }
  }
}
