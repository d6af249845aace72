import { FormatError } from '../../core/errors.ts'
import { type ProtobufField, protobufFields } from '../../formats/protobuf.ts'
import { decodeUtf8 } from '../../formats/source.ts'
import { tokenTypes } from '../ggufTokens.ts'
import { addedPieces, joinedPieces, likeliestPieces, surrounding } from './sentencePiece.ts'
import { addedTokens, specialTokens, type TokenizerSettings } from './vocabularyFiles.ts'

/** SentencePiece's numbers of fields. Source: sentencepiece, src/sentencepiece_model.proto. */
const modelFields = { piece: 1, trainer: 2, normalizer: 3 } as const
const pieceFields = { text: 1, score: 2, type: 3 } as const
const trainerFields = { kind: 3, spaceAsSuffix: 24, unknownId: 40, bosId: 41, eosId: 42 } as const
const normalizerFields = { rules: 2, addsPrefix: 3, removesSpaces: 4, escapesSpaces: 5 } as const
const kinds: Readonly<Record<number, string>> = { 1: 'Unigram', 2: 'BPE', 3: 'words', 4: 'characters' }

/**
 * The tokenizer.json that says what a `tokenizer.model` says: SentencePiece's file of Llama 1 and 2, Mistral
 * and Gemma.
 * @throws FormatError if the file is broken, or does what a tokenizer.json cannot say
 */
export function sentencePieceModel(
  bytes: Uint8Array,
  name: string,
  settings: TokenizerSettings,
): Record<string, unknown> {
  const [tokens, scores, types]: [string[], number[], number[]] = [[], [], []]
  let trainer: Fields = new Map()
  let normalizer: Fields = new Map()
  for (const { number, value } of protobufFields(bytes, name)) {
    if (number === modelFields.piece) {
      const piece = fieldsOf(value, name)
      tokens.push(text(piece.get(pieceFields.text), name))
      scores.push(score(piece.get(pieceFields.score), name))
      types.push(Number(piece.get(pieceFields.type) ?? tokenTypes.normal))
    } else if (number === modelFields.trainer) trainer = fieldsOf(value, name)
    else if (number === modelFields.normalizer) normalizer = fieldsOf(value, name)
  }
  if (tokens.length === 0) throw new FormatError(`${name}: must be a SentencePiece model; it has no pieces`)
  const kind = kinds[Number(trainer.get(trainerFields.kind) ?? 1)]
  if (kind !== 'BPE' && kind !== 'Unigram')
    throw new FormatError(`${name}: must be of kind BPE or Unigram; it is of ${kind ?? 'another'}`)
  const rules = normalizer.get(normalizerFields.rules)
  if (rules instanceof Uint8Array && rules.length > 0)
    throw new FormatError(`${name}: must leave characters as they are; it has rules that change some`)
  if (Number(trainer.get(trainerFields.spaceAsSuffix) ?? 0) !== 0)
    throw new FormatError(`${name}: treat_whitespace_as_suffix must be false; it is true`)
  if (Number(normalizer.get(normalizerFields.escapesSpaces) ?? 1) === 0)
    throw new FormatError(`${name}: escape_whitespaces must be true; it is false`)
  const id = (field: number, usual: number) => {
    const given = Number(trainer.get(field) ?? usual)
    return given >= 0 && given < tokens.length ? given : null
  }
  const around = (field: number, usual: number, adds: boolean) => {
    const found = adds ? id(field, usual) : null
    return found === null ? null : { id: found, content: tokens[found] }
  }
  const vocabulary = { name, tokens, tokenOf: (id: number) => tokens[id], types }
  const { config } = settings
  const ids = new Map(tokens.map((token, at) => [token, at]))
  const added = [
    ...addedPieces(vocabulary),
    ...addedTokens(settings, specialTokens(settings), (token) => ids.get(token)),
  ]
  const pieces = kind === 'BPE' ? joinedPieces : likeliestPieces
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [...new Map(added.map((token) => [token.id, token])).values()],
    ...pieces(vocabulary, {
      scores,
      addsPrefix: normalizer.get(normalizerFields.addsPrefix) !== 0,
      removesSpaces: normalizer.get(normalizerFields.removesSpaces) !== 0,
      unknownId: id(trainerFields.unknownId, 0),
    }),
    post_processor: surrounding(
      around(trainerFields.bosId, 1, config.boolean('add_bos_token', true)),
      around(trainerFields.eosId, 2, config.boolean('add_eos_token', false)),
    ),
  }
}

type Fields = Map<number, ProtobufField['value']>

function fieldsOf(message: ProtobufField['value'], name: string): Fields {
  if (typeof message === 'number')
    throw new FormatError(`${name}: a message must have a length; one has none`)
  const fields: Fields = new Map()
  for (const { number, value } of protobufFields(message, name)) fields.set(number, value)
  return fields
}

function text(value: ProtobufField['value'] | undefined, name: string): string {
  if (value instanceof Uint8Array) return decodeUtf8(value, name)
  throw new FormatError(`${name}: a piece must have a text; one has none`)
}

/** Of a piece; 0 where none is stated. */
function score(value: ProtobufField['value'] | undefined, name: string): number {
  if (value === undefined) return 0
  if (typeof value === 'number' || value.length !== 4)
    throw new FormatError(
      `${name}: a score must have 4 bytes; one has ${typeof value === 'number' ? 'none' : value.length}`,
    )
  const number = new DataView(value.buffer, value.byteOffset).getFloat32(0, true)
  if (Number.isNaN(number)) throw new FormatError(`${name}: a score must be a number; one is NaN`)
  return number
}
