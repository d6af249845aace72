import type { JsonObject } from '../../formats/json.ts'
import type { LongRope, RopeScaling } from '../../nn/rope.ts'
import { positiveField } from './fields.ts'

/** What the fields of rotary positions say. */
export interface RopeFields {
  ropeTheta: number
  ropeScaling: RopeScaling
}

interface RopeSizes {
  headSize: number
  maxPositions: number
}

/**
 * Base and scaling of the rotary frequencies: `rope_parameters`, as transformers 5 writes them, or
 * `rope_theta` and `rope_scaling`, as earlier versions did.
 * @throws FormatError if a field is missing, of the wrong type, or out of range
 */
export function ropeFields(config: JsonObject, sizes: RopeSizes): RopeFields {
  const key = ['rope_parameters', 'rope_scaling'].find((name) => config.has(name))
  const rope = key === undefined ? null : config.object(key)
  return {
    ropeTheta: positiveField(rope?.has('rope_theta') ? rope : config, 'rope_theta', 10000),
    ropeScaling: rope ? scalingOf(rope, config, sizes) : { type: 'default' },
  }
}

/** @param config all of config.json, where some fields may stand, too */
function scalingOf(json: JsonObject, config: JsonObject, sizes: RopeSizes): RopeScaling {
  const key = json.has('rope_type') ? 'rope_type' : 'type'
  const type = json.string(key, 'default')
  if (type === 'default') return { type }
  if (type === 'linear') return { type, factor: positiveField(json, 'factor') }
  if (type === 'longrope') return longRopeOf(json, config, sizes)
  if (type !== 'llama3') throw json.error(key, 'must be "default", "linear", "llama3" or "longrope"')
  return {
    type,
    factor: positiveField(json, 'factor'),
    lowFrequencyFactor: positiveField(json, 'low_freq_factor'),
    highFrequencyFactor: positiveField(json, 'high_freq_factor'),
    originalMaxPositions: positiveField(json, 'original_max_position_embeddings'),
  }
}

/** Source: transformers, modeling_rope_utils.py, `_compute_longrope_parameters`. */
function longRopeOf(json: JsonObject, config: JsonObject, { headSize, maxPositions }: RopeSizes): LongRope {
  const factors = (key: string) => {
    const list = json.positives(key)
    if (list.length === headSize / 2) return list
    const rule = `must have ${headSize / 2} numbers, one for every pair of a head`
    throw json.error(key, `${rule}; it has ${list.length}`)
  }
  const original = 'original_max_position_embeddings'
  const originalMaxPositions = positiveField(config.has(original) ? config : json, original, maxPositions)
  const factor = positiveField(json, 'factor', maxPositions / originalMaxPositions)
  const attentionFactor = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(originalMaxPositions))
  return {
    type: 'longrope',
    shortFactors: factors('short_factor'),
    longFactors: factors('long_factor'),
    originalMaxPositions,
    attentionFactor: positiveField(json, 'attention_factor', attentionFactor),
  }
}
