import type { FormatError } from '../core/errors.ts'
import type { GgufFile } from '../formats/gguf.ts'
import type { GgufMetadata } from '../formats/ggufMetadata.ts'
import { JsonObject } from '../formats/json.ts'
import type { Family, GgufFamily } from './families/family.ts'
import type { Warn } from './families/fields.ts'
import { families } from './families/index.ts'
import { usualRopeNames } from './families/ropeFields.ts'
import { ggufRopeFields, type RopeFactors } from './ggufRope.ts'
import { endOfTurnIds, ggufTokenId } from './ggufTokens.ts'

/**
 * What a GGUF file says of its model, as transformers would write it to a config.json, and how its family
 * names things.
 * @param ropeFactors the values of tensors that scale positions, or null if there is none
 * @param warn is told what is ignored since it is not sound
 * @throws FormatError if there is no family for its architecture, or a key is missing
 */
export function ggufConfig(
  file: GgufFile,
  ropeFactors: RopeFactors,
  warn: Warn = () => {},
): { config: JsonObject; gguf: GgufFamily } {
  const { metadata } = file
  const { family, gguf } = ggufFamily(metadata)
  const { architecture, fields, optionalFields = {}, otherFields } = gguf
  const keys = new Map(
    Object.entries({ ...fields, ...optionalFields }).map(([field, key]) => [field, `${architecture}.${key}`]),
  )
  for (const key of Object.values(fields))
    if (!metadata.has(`${architecture}.${key}`))
      throw metadata.error(`${architecture}.${key}`, 'must be given')
  if (
    !Object.values(fields).includes('expert_count') &&
    metadata.count(`${architecture}.expert_count`, 0) > 0
  )
    throw metadata.error(`${architecture}.expert_count`, 'must be 0: its family has no experts')
  const has = (name: string) => file.tensors.has(name) || file.unknown.has(name)
  const stated = [...keys].map(([field, key]) => [field, metadata.get(key)])
  const values: Record<string, unknown> = {
    architectures: [family.architectures[0]],
    model_type: family.modelTypes[0],
    vocab_size: file.tensors.get('token_embd.weight')?.shape[0],
    ...Object.fromEntries(stated.filter(([, value]) => value !== undefined)),
    ...otherFields?.(has, (key) => metadata.get(`${architecture}.${key}`)),
    tie_word_embeddings: !has('output.weight'),
    torch_dtype: 'float32',
    use_cache: true,
  }
  // As llama.cpp takes it.
  if (keys.has('num_key_value_heads')) values.num_key_value_heads ??= values.num_attention_heads
  const { theta } = gguf.ropeNames ?? usualRopeNames
  if (keys.has(theta)) values[theta] ??= 10000
  const headSize = Number(values.hidden_size) / Number(values.num_attention_heads)
  if (keys.has('head_dim') && Number.isInteger(headSize)) values.head_dim ??= headSize
  if (keys.has(theta)) Object.assign(values, ggufRopeFields(file, gguf, values, ropeFactors))
  Object.assign(values, specialTokens(metadata, Number(values.vocab_size), warn))
  return { config: new MetadataConfig(values, metadata, keys), gguf }
}

/** A config.json made of metadata: errors name the key that a field came from, and its place in the file. */
class MetadataConfig extends JsonObject {
  private readonly metadata: GgufMetadata
  /** Of the fields that come from one. */
  private readonly sources: ReadonlyMap<string, string>

  constructor(values: object, metadata: GgufMetadata, sources: ReadonlyMap<string, string>) {
    super(values, metadata.name)
    this.metadata = metadata
    this.sources = sources
  }

  override error(field: string, rule: string): FormatError {
    const key = this.sources.get(field)
    return key === undefined ? super.error(field, rule) : this.metadata.error(key, rule)
  }
}

/** Of the families with the file's architecture the first whose keys are all there; a number of 0 is none. */
function ggufFamily(metadata: GgufMetadata): { family: Family; gguf: GgufFamily } {
  const architecture = metadata.string('general.architecture')
  const entries = families.flatMap((family) => (family.gguf ? [{ family, gguf: family.gguf }] : []))
  const possible = entries.filter(({ gguf }) => gguf.architecture === architecture)
  const isWhole = ({ gguf }: (typeof entries)[number]) =>
    Object.values(gguf.fields).every((key) => (metadata.get(`${architecture}.${key}`) ?? 0) !== 0)
  const found = possible.find(isWhole) ?? possible.at(-1)
  if (found) return found
  const known = [...new Set(entries.map(({ gguf }) => JSON.stringify(gguf.architecture)))].join(' or ')
  throw metadata.error('general.architecture', `must be ${known}`)
}

/** The ids of special tokens; several may end a text. */
function specialTokens(metadata: GgufMetadata, vocabularySize: number, warn: Warn): Record<string, unknown> {
  const id = (name: string) => ggufTokenId(metadata, name, vocabularySize, warn)
  const named = ['eos', 'eot', 'eom'].flatMap((name) => id(name) ?? [])
  const found = endOfTurnIds(metadata).filter((token) => token < vocabularySize)
  const ends = [...new Set([...named, ...found])]
  return {
    bos_token_id: id('bos'),
    eos_token_id: ends.length > 1 ? ends : (ends[0] ?? null),
    pad_token_id: id('padding'),
  }
}
