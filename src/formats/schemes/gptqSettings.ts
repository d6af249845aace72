import { type JsonObject, show } from '../json.ts'
import { type LayerSettings, readGroupSize } from './integerGroups.ts'
import { pathPattern } from './pathPattern.ts'

/** Whether files hold zero points less one, or as they are. */
export type GptqVersion = 'gptq' | 'gptq_v2'

/** What the settings of GPTQ say. */
export interface GptqSettings {
  /** Whether the file holds z − 1. */
  readonly lessOne: boolean
  /** Of the layer at a path; null where it is not quantized. */
  layer(path: string): LayerSettings | null
}

/** The formats of other libraries' kernels, and what they are. */
const otherFormats: Readonly<Record<string, string>> = {
  gptq_p: 'its codes of 3 bits stand in planes',
  marlin: "it is laid out for one GPU kernel's tiles",
  bitblas: "it is laid out for one GPU kernel's tiles",
}

/**
 * Reads the fields that change what the tensors stand for; the others say how the weights were found.
 * Source: AutoGPTQ 0.7.1, `BaseQuantizeConfig`; GPTQModel 7.7, quantization/config.py; transformers 5,
 * `GPTQConfig`.
 * @throws FormatError
 */
export function readGptqSettings(config: JsonObject): GptqSettings {
  const format = gptqVersion(config)
  const refuse = (key: string, held: boolean, problem: string) => {
    if (held) throw config.error(key, problem)
  }
  refuse('is_marlin_format', config.boolean('is_marlin_format', false), 'must be false, as for any format')
  refuse('pack_dtype', config.string('pack_dtype', 'int32') !== 'int32', 'must be "int32"')
  refuse('rotation', config.has('rotation'), 'must be absent: rotated activations are not supported')
  refuse('adapter', config.has('adapter'), 'must be absent: what is added to layers is not supported')
  const all = readLayer(config, null)
  const rules = readDynamic(config, all)
  return {
    lessOne: format === 'gptq',
    layer(path) {
      const rule = rules.find(({ pattern }) => pattern.test(path))
      return rule ? rule.settings : all
    },
  }
}

/** @throws FormatError if it is neither */
export function gptqVersion(config: JsonObject): GptqVersion {
  const key = config.has('checkpoint_format') ? 'checkpoint_format' : 'format'
  const format = config.string(key, 'gptq')
  if (format === 'gptq' || format === 'gptq_v2') return format
  const known = Object.hasOwn(otherFormats, format) ? `; of ${format}, ${otherFormats[format]}` : ''
  throw config.error(key, `must be "gptq" or "gptq_v2"${known}`)
}

/** The fields of a layer, or of all; what is absent is as in `all`. */
function readLayer(config: JsonObject, all: LayerSettings | null): LayerSettings {
  const bits = config.count('bits', all?.bits)
  if (![2, 3, 4, 8].includes(bits)) throw config.error('bits', 'must be 2, 3, 4 or 8')
  return {
    bits,
    groupSize: readGroupSize(config, 'group_size', all === null ? -1 : (all.groupSize ?? -1)),
    symmetric: config.boolean('sym', all?.symmetric ?? false),
  }
}

interface Rule {
  readonly pattern: RegExp
  readonly settings: LayerSettings | null
}

/** `dynamic`: by pattern, what of layers differs; `-:` before it, that they are floats. The first counts. */
function readDynamic(config: JsonObject, all: LayerSettings): Rule[] {
  if (!config.has('dynamic') || config.get('dynamic') === false) return []
  const dynamic = config.object('dynamic')
  return dynamic.keys().map((key) => {
    const pattern = pathPattern(key.replace(/^[+-]:/, ''))
    if (!pattern) throw dynamic.error(key, `must stand at a pattern of layers' names; ${show(key)} is none`)
    if (key.startsWith('-:')) return { pattern, settings: null }
    const fields = dynamic.object(key)
    for (const name of ['adapter', 'pack_dtype', 'format', 'method'])
      if (fields.has(name))
        throw fields.error(name, 'must be absent: layers differ in bits, group_size and sym')
    return { pattern, settings: readLayer(fields, all) }
  })
}

/**
 * How many zero points are one number, from whose digits one was taken as from a whole: those of a word; of 3
 * bits, where codes lie in two words, those of three.
 */
export function zerosOfRun(bits: number): number {
  return bits === 3 ? 32 : 32 / bits
}
