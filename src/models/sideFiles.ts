import { sideFiles } from '../checkpoints/checkpoint.ts'
import { JsonObject, maxJsonBytes, parseJsonText } from '../formats/json.ts'
import { type Folder, readText } from '../formats/source.ts'
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
  const files = new Map<string, string>()
  for (const name of sideFiles)
    if (await folder.has(name)) files.set(name, await readText(folder, name, maxJsonBytes))
  model.checkpoint = { name: folder.name, config: config.toObject(), files }
  const object = (file: string) => {
    const name = `${folder.name}/${file}`
    return new JsonObject(parseJsonText(files.get(file) ?? '', name), name)
  }
  if (files.has('generation_config.json')) {
    const generation = object('generation_config.json')
    const ids = tokenIdsField(generation, 'eos_token_id', model.config.vocabularySize, warn)
    if (ids.length > 0) model.eosTokenIds = ids
  }
  if (!files.has('tokenizer.json')) return
  const tokenizerConfig = files.has('tokenizer_config.json') ? object('tokenizer_config.json').toObject() : {}
  // Newer folders keep the template in a file of its own.
  const template = files.get('chat_template.jinja')
  if (template !== undefined) tokenizerConfig.chat_template = template
  const tokenizer = object('tokenizer.json')
  model.tokenizer = await Tokenizer.fromJson(tokenizer.toObject(), tokenizerConfig, tokenizer.name)
  checkVocabulary(model, tokenizer.name, warn)
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
