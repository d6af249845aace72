import { sideFiles } from '../checkpoints/checkpoint.ts'
import { FormatError } from '../core/errors.ts'
import { JsonObject, maxJsonBytes, parseJsonText, readJson } from '../formats/json.ts'
import { type Folder, readBytes, readText } from '../formats/source.ts'
import type { CausalLM } from './causalLM.ts'
import { tokenIdsField, type Warn } from './families/fields.ts'
import { Tokenizer } from './tokenizer.ts'

/**
 * Reads what stands beside a model's weights: tokenizer, end-of-text ids, and the files to be saved along.
 * @throws FormatError if one of them is broken
 */
export async function readSideFiles(
  folder: Folder,
  model: CausalLM,
  config: JsonObject,
  warn: Warn,
): Promise<void> {
  const files = new Map<string, string | (() => string)>()
  for (const name of sideFiles)
    if (await folder.has(name)) files.set(name, await readText(folder, name, maxJsonBytes))
  model.checkpoint = { name: folder.name, config: config.toObject(), files }
  const object = (file: string) => {
    const name = `${folder.name}/${file}`
    const text = files.get(file)
    return new JsonObject(typeof text === 'string' ? parseJsonText(text, name) : {}, name)
  }
  if (files.has('generation_config.json')) {
    const generation = object('generation_config.json')
    const ids = tokenIdsField(generation, 'eos_token_id', model.config.vocabularySize, warn)
    if (ids.length > 0) model.eosTokenIds = ids
  }
  const settings = object('tokenizer_config.json').toObject()
  // Newer folders keep the template in a file of its own; those of models that see pictures in another.
  const template = files.get('chat_template.jinja') ?? object('chat_template.json').get('chat_template')
  if (template !== undefined) settings.chat_template = template
  const name = files.has('tokenizer.json') ? `${folder.name}/tokenizer.json` : folder.name
  const json = files.has('tokenizer.json')
    ? object('tokenizer.json').toObject()
    : await readOlderTokenizer(folder, files, object, warn)
  if (json === null) return
  model.tokenizer = await Tokenizer.fromJson(json, settings, name)
  checkVocabulary(model, name, warn)
}

/**
 * A tokenizer.json made of what older folders have: vocab.json and merges.txt, or tokenizer.model; null if they
 * have none, or, which is told, one that cannot be read. It is saved with the model.
 */
async function readOlderTokenizer(
  folder: Folder,
  files: Map<string, string | (() => string)>,
  object: (file: string) => JsonObject,
  warn: Warn,
): Promise<Record<string, unknown> | null> {
  const read = async () => {
    const settings = {
      config: object('tokenizer_config.json'),
      special: object('special_tokens_map.json'),
      added: object('added_tokens.json'),
    }
    if ((await folder.has('vocab.json')) && (await folder.has('merges.txt'))) {
      const { vocabularyFiles } = await import('./tokenization/vocabularyFiles.ts')
      const merges = await readText(folder, 'merges.txt', maxJsonBytes)
      return vocabularyFiles(await readJson(folder, 'vocab.json'), merges, settings)
    }
    if (!(await folder.has('tokenizer.model'))) return null
    const { sentencePieceModel } = await import('./tokenization/sentencePieceModel.ts')
    const bytes = await readBytes(folder, 'tokenizer.model', maxJsonBytes)
    return sentencePieceModel(bytes, `${folder.name}/tokenizer.model`, settings)
  }
  try {
    const json = await read()
    if (json) files.set('tokenizer.json', () => JSON.stringify(json))
    return json
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    warn(`${error.message}; so the model takes token ids only`)
    return null
  }
}

/**
 * Says if the tokenizer has tokens that the embedding lacks: text with one of them is refused when it comes.
 */
export function checkVocabulary({ tokenizer, config }: CausalLM, name: string, warn: Warn): void {
  const largest = (tokenizer?.vocabularySize ?? 0) - 1
  if (largest < config.vocabularySize) return
  warn(
    `${name}: token ids must stay below the model's vocabulary (${config.vocabularySize}); the largest is ${largest}, so text with such tokens cannot be used`,
  )
}
