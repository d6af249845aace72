import { weightsIndexName, weightsName } from '../formats/checkpoint.ts'
import { schemes } from '../formats/schemes/index.ts'

/** Where a model came from, and what belongs to it besides the weights. */
export interface Checkpoint {
  /** The path, id or URL it was loaded from. */
  readonly name: string
  /** config.json as it stood. */
  readonly config: Readonly<Record<string, unknown>>
  /**
   * Text files saved with the model unchanged: tokenizer, generation config, chat template. Large ones may be
   * made when asked for.
   */
  readonly files: ReadonlyMap<string, string | (() => string)>
}

/** A model that is saved with files beside its weights. */
export interface WithFiles {
  /** What of a folder that is saved the library of the model does not find, a sentence each. */
  readonly saveLimits: readonly string[]
  /**
   * Their texts by name, in the order in which they are written.
   * @param quantized what config.json is to say of the weights' quantization, by field; default: nothing
   */
  savedFiles(quantized?: Readonly<Record<string, unknown>>): Iterable<readonly [name: string, text: string]>
}

export function hasFiles(model: object): model is WithFiles {
  return 'savedFiles' in model && typeof model.savedFiles === 'function'
}

/** The files of a Hugging Face folder that go with the weights. */
export const sideFiles = [
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'chat_template.jinja',
  'chat_template.json',
]

const savedFiles = new Set<string>([
  'config.json',
  weightsName,
  weightsIndexName,
  ...schemes.flatMap(({ settingsFiles = [] }) => settingsFiles),
  ...sideFiles,
])
const shard = /^model-\d{5}-of-\d{5}\.safetensors$/

/**
 * Whether a saved model may have a file of this name: what a save with `overwrite` may replace. `overwrite`
 * refuses a folder that holds another file: what a path means is the user's to say once, what lies there is
 * not ours to judge.
 */
export function isSavedFile(name: string): boolean {
  return savedFiles.has(name) || shard.test(name)
}
