import type { JsonObject } from '../../formats/json.ts'
import type { CausalLM, CausalLMConfig } from '../causalLM.ts'
import type { CheckpointNames } from '../pretrained.ts'
import type { Warn } from './fields.ts'

/** A family of models: what its checkpoints say, and how a model is made of that. An entry of `families`. */
export interface Family<C extends CausalLMConfig = CausalLMConfig> {
  /** Its classes' names in the `architectures` of a config.json. */
  readonly architectures: readonly string[]
  /** Its names in `model_type`, which counts where no architecture is named. */
  readonly modelTypes: readonly string[]
  /**
   * @param config the parsed config.json
   * @param warn is told what is ignored since it is not sound
   * @throws FormatError if a field is missing, of the wrong type, out of range, or asks for what the family
   * does not do
   */
  parse(config: JsonObject, warn?: Warn): C
  /** The model that the config describes, without weights. */
  build(config: C): CausalLM
  /** How checkpoints name tensors, where that differs from the paths of the model. */
  readonly names?: CheckpointNames
}
