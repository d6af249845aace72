import type { JsonObject } from '../../formats/json.ts'
import type { RopeOptions } from '../../nn/rope.ts'
import type { CausalLM, CausalLMConfig } from '../causalLM.ts'
import type { CheckpointNames } from '../pretrained.ts'
import type { Warn } from './fields.ts'
import type { RopeNames } from './ropeFields.ts'

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
  /** How GGUF files describe it; absent where they cannot. */
  readonly gguf?: GgufFamily<C>
}

/** Paths of modules by their names in GGUF files. */
export type GgufModules = Readonly<Record<string, string>>

/**
 * How GGUF files describe a family: their metadata become a config.json, which the family parses as any
 * other, and their tensors get the paths of its modules; and the other way round.
 */
export interface GgufFamily<C extends CausalLMConfig = CausalLMConfig> {
  /** In `general.architecture`, and before each of the keys below. */
  readonly architecture: string
  /** The key of each field of a config.json that a file must state: `num_hidden_layers: 'block_count'`. */
  readonly fields: Readonly<Record<string, string>>
  /** Of those that it may leave out. */
  readonly optionalFields?: Readonly<Record<string, string>>
  /** Fields that are the same in all files, or follow from which tensors there are, and from other keys. */
  otherFields?(
    has: (tensor: string) => boolean,
    value: (key: string) => unknown,
  ): Readonly<Record<string, unknown>>
  /**
   * What files that are written say of a config, by keys as above, those of the scaling of positions aside.
   */
  keys(config: C): Readonly<Record<string, number | boolean>>
  /** How positions turn; absent where they do not. */
  rope?(config: C): RopeOptions | null
  /** Whether a part of each head only may turn, `rope.dimension_count` of its values; default false. */
  readonly partialRotary?: boolean
  /** The path of each module by its name in the file, `N` standing for the number of a layer. */
  readonly modules: GgufModules
  /** Those that a config decides on, beside `modules`. */
  otherModules?(config: C): GgufModules
  /**
   * Modules whose rows are stored with rotating pairs side by side, and which of the config's numbers counts
   * the heads that they belong to.
   */
  readonly paired?: Readonly<Record<string, 'heads' | 'keyValueHeads'>>
  /**
   * Modules of which the model has, for one key-value head after the other, the rows of its queries, its key
   * and its value, and the file all queries, all keys, all values.
   */
  readonly byHead?: readonly string[]
  /** Modules with one output, whose weights are stored as vectors. */
  readonly oneRow?: readonly string[]
  /** Modules whose float weights lie the other way round than in the model. */
  readonly turned?: readonly string[]
  /** Norms that multiply by 1 + weight, which is what files hold. */
  readonly unitOffset?: readonly string[]
  /** Whether positions of short texts and of long ones may be scaled by factors of their own; default false. */
  readonly longRope?: boolean
  /** How its config.json names base and turned part; default `usualRopeNames`. */
  readonly ropeNames?: RopeNames
}
