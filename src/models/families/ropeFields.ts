import type { JsonObject } from '../../formats/json.ts'
import type { LongRope, RopeOptions, RopeScaling, YarnRope } from '../../nn/rope.ts'
import { positiveField } from './fields.ts'

/** What the fields of rotary positions are read beside. */
interface RopeContext {
  /** All of config.json, where some of them may stand, too. */
  config: JsonObject
  /** Values of a head that are turned. */
  size: number
  maxPositions: number
  /** What the positions were before they were scaled, where nothing beside the fields says so. */
  originalMaxPositions?: number
}

/** What a config.json calls the base, and the part of each head that is turned, beside the others. */
export interface RopeNames {
  theta: string
  factor: string
}

export const usualRopeNames: RopeNames = { theta: 'rope_theta', factor: 'partial_rotary_factor' }

/** What families do with rotary positions, and what their config.json may leave out. */
export interface RopeDefaults {
  /** Where the fields stand, if not where they usually do; null: nowhere. */
  fields?: JsonObject | null
  /** How config.json names two of them outside; default `usualRopeNames`. */
  names?: RopeNames
  /** Whether the family can turn a part of each head only, which others refuse. */
  partial?: boolean
  /** That part, where none is stated; default 1. */
  factor?: number
  /** The base, where none is stated; default 10000. */
  theta?: number
  /**
   * `original_max_position_embeddings` where config.json leaves it out: what scaled positions say of it does
   * not count, then. Default: what they say, else `max_position_embeddings`.
   */
  originalMaxPositions?: number
  /** Whether pairs are neighbours. */
  interleaved?: boolean
}

/** How the fields of each scaling are read, by its name in `rope_type`. */
const scalings: Readonly<Record<string, (rope: JsonObject, context: RopeContext) => RopeScaling>> = {
  default: () => ({ type: 'default' }),
  linear: (rope) => ({ type: 'linear', factor: positiveField(rope, 'factor') }),
  dynamic: (rope, { maxPositions }) => ({
    type: 'dynamic',
    factor: positiveField(rope, 'factor'),
    maxPositions,
  }),
  llama3: (rope, context) => ({
    type: 'llama3',
    factor: positiveField(rope, 'factor'),
    lowFrequencyFactor: positiveField(rope, 'low_freq_factor'),
    highFrequencyFactor: positiveField(rope, 'high_freq_factor'),
    originalMaxPositions: originalMaxPositions(rope, context),
  }),
  yarn,
  longrope,
  // Its name in the first files of Phi-3.
  su: longrope,
}

/** Where a config.json says how positions are turned: `rope_scaling` wins, unless it is empty. */
export function ropeKey(config: JsonObject): 'rope_scaling' | 'rope_parameters' | undefined {
  const keys = ['rope_scaling', 'rope_parameters'] as const
  return keys.find((key) => config.has(key) && config.object(key).keys().length > 0)
}

/**
 * Base, scaling and size of rotary positions: `rope_parameters`, as transformers 5 writes them, or
 * `rope_theta`, `rope_scaling` and `partial_rotary_factor` beside each other, as earlier versions did.
 * Source: transformers, modeling_rope_utils.py, `convert_rope_params_to_dict`.
 * @throws FormatError if a field is missing, of the wrong type, or out of range
 */
export function ropeFields(
  config: JsonObject,
  sizes: { headSize: number; maxPositions: number },
  options: RopeDefaults = {},
): RopeOptions {
  const key = ropeKey(config)
  const usual = () => (key === undefined ? null : config.object(key))
  const rope = options.fields === undefined ? usual() : options.fields
  const { interleaved, originalMaxPositions, names = usualRopeNames } = options
  /** Where a field stands that may be in either place. */
  const place = (name: keyof RopeNames): [JsonObject, string] =>
    rope?.has(usualRopeNames[name]) ? [rope, usualRopeNames[name]] : [config, names[name]]
  const [holder, factorKey] = place('factor')
  const factor = positiveField(holder, factorKey, options.factor ?? 1)
  if (factor > 1 || (factor !== 1 && !options.partial))
    throw holder.error(
      factorKey,
      options.partial ? 'must be at most 1' : 'must be 1: these models turn whole heads',
    )
  const size = Math.trunc(sizes.headSize * factor)
  if (size % 2 !== 0 || size === 0)
    throw holder.error(
      factorKey,
      `must leave an even number of the ${sizes.headSize} values of a head; it leaves ${size}`,
    )
  const theta = positiveField(...place('theta'), options.theta ?? 10000)
  const plain = { size, theta, ...(interleaved && { interleaved }) }
  if (!rope) return { ...plain, scaling: { type: 'default' } }
  const typeKey = rope.has('rope_type') ? 'rope_type' : 'type'
  const type = rope.string(typeKey, 'default')
  if (!Object.hasOwn(scalings, type))
    throw rope.error(typeKey, `must be one of ${Object.keys(scalings).join(', ')}`)
  const { maxPositions } = sizes
  return { ...plain, scaling: scalings[type](rope, { config, size, maxPositions, originalMaxPositions }) }
}

/** Phi-3 has it beside the others, where it wins. */
function originalMaxPositions(rope: JsonObject, context: RopeContext): number {
  const { config, maxPositions, originalMaxPositions: usual } = context
  const key = 'original_max_position_embeddings'
  return positiveField(config.has(key) || usual ? config : rope, key, usual ?? maxPositions)
}

/** Source: transformers, modeling_rope_utils.py, `_compute_yarn_parameters`. */
function yarn(rope: JsonObject, context: RopeContext): YarnRope {
  const original = originalMaxPositions(rope, context)
  const factor = positiveField(rope, 'factor', context.maxPositions / original)
  const scaled = (scale: number) => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1)
  const [scale, scaleAllDims] = ['mscale', 'mscale_all_dim'].map((key) => rope.number(key, 0))
  return {
    type: 'yarn',
    factor,
    betaFast: positiveField(rope, 'beta_fast', 32),
    betaSlow: positiveField(rope, 'beta_slow', 1),
    originalMaxPositions: original,
    truncate: rope.boolean('truncate', true),
    attentionFactor: positiveField(
      rope,
      'attention_factor',
      scale && scaleAllDims ? scaled(scale) / scaled(scaleAllDims) : scaled(1),
    ),
  }
}

/** Source: transformers, modeling_rope_utils.py, `_compute_longrope_parameters`. */
function longrope(rope: JsonObject, context: RopeContext): LongRope {
  const pairs = context.size / 2
  const factors = (key: string) => {
    const list = rope.positives(key)
    if (list.length === pairs) return list
    throw rope.error(key, `must have ${pairs} numbers, one for every pair of a head; it has ${list.length}`)
  }
  const original = originalMaxPositions(rope, context)
  const factor = positiveField(rope, 'factor', context.maxPositions / original)
  const attentionFactor = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original))
  return {
    type: 'longrope',
    shortFactors: factors('short_factor'),
    longFactors: factors('long_factor'),
    originalMaxPositions: original,
    attentionFactor: positiveField(rope, 'attention_factor', attentionFactor),
  }
}
