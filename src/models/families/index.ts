import { FormatError } from '../../core/errors.ts'
import { type JsonObject, show } from '../../formats/json.ts'
import type { CausalLM } from '../causalLM.ts'
import { bloom } from './bloom.ts'
import { falcon } from './falcon.ts'
import type { Family } from './family.ts'
import type { Warn } from './fields.ts'
import { gpt2 } from './gpt2.ts'
import { gptj } from './gptj.ts'
import { gptNeo } from './gptNeo.ts'
import { gptNeox } from './gptNeox.ts'
import { llama } from './llama.ts'
import { mistral } from './mistral.ts'
import { opt } from './opt.ts'
import { phi } from './phi.ts'
import { qwen2 } from './qwen2.ts'

/** Every family of models that can be loaded. */
export const families: readonly Family[] = [
  mistral,
  llama,
  qwen2,
  gpt2,
  gptNeo,
  gptj,
  gptNeox,
  opt,
  bloom,
  falcon,
  phi,
]

/**
 * The model that a config.json describes, without weights.
 * @param warn is told what is ignored since it is not sound
 * @throws FormatError if no family has its architecture, or the family refuses it
 */
export function emptyModel(config: JsonObject, warn: Warn = () => {}): CausalLM {
  const family = familyOf(config)
  const model = family.build(family.parse(config, warn))
  if (family.names) model.names = family.names
  return model
}

/**
 * The family of a config.json: the first architecture that is named counts, and without any the model's type.
 * @throws FormatError if no family has it
 */
export function familyOf(config: JsonObject): Family {
  const [architecture] = config.strings('architectures', [])
  const type = config.string('model_type', 'none')
  const found = families.find(({ architectures, modelTypes }) =>
    architecture === undefined ? modelTypes.includes(type) : architectures.includes(architecture),
  )
  if (found) return found
  const known = families.flatMap(({ architectures }) => architectures).join(', ')
  throw new FormatError(
    `${config.name}: the architecture must be one of ${known}; it is ${show(architecture ?? type)}`,
  )
}
