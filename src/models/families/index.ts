import { FormatError } from '../../core/errors.ts'
import { nearest } from '../../core/nearest.ts'
import { JsonObject, show } from '../../formats/json.ts'
import type { CausalLM } from '../causalLM.ts'
import { bitnet } from './bitnet.ts'
import { bloom } from './bloom.ts'
import { cohere } from './cohere.ts'
import { cohere2 } from './cohere2.ts'
import { falcon } from './falcon.ts'
import type { Family, GgufFamily } from './family.ts'
import type { Warn } from './fields.ts'
import { gemma } from './gemma.ts'
import { gemma2 } from './gemma2.ts'
import { gemma3 } from './gemma3.ts'
import { gpt2 } from './gpt2.ts'
import { gptj } from './gptj.ts'
import { gptNeo } from './gptNeo.ts'
import { gptNeox } from './gptNeox.ts'
import { gptOss } from './gptOss.ts'
import { granite } from './granite.ts'
import { llama } from './llama.ts'
import { mistral } from './mistral.ts'
import { mixtral } from './mixtral.ts'
import { olmo2 } from './olmo2.ts'
import { opt } from './opt.ts'
import { phi } from './phi.ts'
import { phi3 } from './phi3.ts'
import { qwen2 } from './qwen2.ts'
import { qwen2Moe } from './qwen2Moe.ts'
import { qwen3 } from './qwen3.ts'
import { qwen3Moe } from './qwen3Moe.ts'
import { smollm3 } from './smollm3.ts'
import { stablelm } from './stablelm.ts'

/** Every family of models that can be loaded. */
export const families: readonly Family[] = [
  mixtral,
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
  qwen3,
  qwen2Moe,
  qwen3Moe,
  gptOss,
  bitnet,
  gemma,
  gemma2,
  gemma3,
  phi3,
  smollm3,
  olmo2,
  granite,
  cohere,
  cohere2,
  stablelm,
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
  const asked = architecture ?? type
  const known = families.flatMap((family) =>
    architecture === undefined ? family.modelTypes : family.architectures,
  )
  throw new FormatError(
    `${config.name}: the architecture must be one that lowbit has; it is ${show(asked)}; the nearest are ${nearest(asked, known).join(', ')}`,
  )
}

/**
 * How GGUF files hold a model of its family.
 * @throws FormatError if they cannot
 */
export function ggufFamilyOf(model: CausalLM): GgufFamily {
  const name = model.checkpoint?.name ?? 'model'
  const { gguf } = familyOf(new JsonObject(model.savedConfig(), name))
  if (gguf) return gguf
  throw new FormatError(`${name}: GGUF files must be able to hold its architecture; they cannot`)
}
