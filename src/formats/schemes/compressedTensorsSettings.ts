import { type QType, qfloat8_e4m3fn, qint8 } from '../../core/qtype.ts'
import type { ComputeDType } from '../../qtensor/computeDtype.ts'
import { type JsonObject, show } from '../json.ts'
import { type Target, targetMatcher } from './compressedTensorsTargets.ts'

/*
 * What config.json says of a checkpoint that compressed-tensors wrote.
 * Source: compressed-tensors 0.20, quantization/quant_config.py and quant_args.py.
 */

/** What shares a scale. */
const strategies = ['tensor', 'channel', 'group', 'block', 'token', 'tensor_group', 'attn_head'] as const
type Strategy = (typeof strategies)[number]

/** How weights or activations are quantized. */
export interface QuantizationArgs {
  readonly bits: number
  readonly type: 'int' | 'float'
  readonly symmetric: boolean
  readonly strategy: Strategy
  /** Columns that share a scale, of the strategies `group` and `tensor_group`. */
  readonly groupSize: number
  /** Rows and columns of a block, of the strategy `block`. */
  readonly tile: readonly number[]
  /** Whether scales are chosen in every pass, all or those of groups. */
  readonly dynamic: boolean
  /** Whether columns are in the order in which GPTQ took them. */
  readonly ordered: boolean
}

/** The formats that lowbit reads, with what weights they hold. */
const formats = {
  'pack-quantized': { types: ['int'], bits: [1, 8], strategies: ['tensor', 'channel', 'group'] },
  'int-quantized': { types: ['int'], bits: [1, 8], strategies: ['tensor', 'channel', 'group', 'block'] },
  'float-quantized': { types: ['float'], bits: [8, 8], strategies: ['tensor', 'channel', 'group', 'block'] },
  'naive-quantized': {
    types: ['int', 'float'],
    bits: [1, 8],
    strategies: ['tensor', 'channel', 'group', 'block'],
  },
  'nvfp4-pack-quantized': { types: ['float'], bits: [4, 4], strategies: ['tensor_group'] },
  'mxfp4-pack-quantized': { types: ['float'], bits: [4, 4], strategies: ['group'] },
  'mxfp8-quantized': { types: ['float'], bits: [8, 8], strategies: ['group'] },
} satisfies Record<string, { types: string[]; bits: [number, number]; strategies: Strategy[] }>
export type Format = keyof typeof formats

/** How the layers of one group of targets are quantized. */
export interface Group {
  /** What messages call it: `config_groups.group_0`. */
  readonly name: string
  readonly format: Format
  readonly weights: QuantizationArgs
  /** What inputs are quantized to by a stored scale; null where they are not. */
  readonly activations: QType | null
  /** How products are computed, where inputs are quantized anew in every pass. */
  readonly computeDtype: ComputeDType | null
}

export interface Settings {
  /** What of them lowbit does not do. */
  readonly warnings: readonly string[]
  /** The group of a layer; null where it is in none, or to be left out. */
  groupOf(path: string, typeName: string): Group | null
}

/** @throws FormatError if they are not sound, or name what lowbit does not read */
export function readSettings(config: JsonObject): Settings {
  refuseOthers(config)
  const warnings: string[] = []
  if (config.has('kv_cache_scheme'))
    warnings.push(`${config.name}: kv_cache_scheme is passed over; keys and values are kept in floats`)
  const list = config.object('config_groups')
  const targets: Target<Group | null>[] = []
  for (const key of list.keys()) {
    const group = list.object(key)
    const read = readGroup(group, config, (message) => warnings.push(message))
    for (const text of group.strings('targets')) targets.push({ text, value: read })
  }
  const notPattern = (key: string) => (text: string) =>
    config.error(key, `must have regular expressions behind re:; ${show(text)} has none`)
  const groupOf = targetMatcher(targets, notPattern('config_groups'))
  const ignored = targetMatcher(
    config.strings('ignore', []).map((text) => ({ text, value: true })),
    notPattern('ignore'),
  )
  return {
    warnings,
    groupOf: (path, typeName) => (ignored(path, typeName) ? null : (groupOf(path, typeName) ?? null)),
  }
}

/** @throws FormatError for settings that change what is stored in ways that lowbit does not read */
function refuseOthers(config: JsonObject): void {
  const status = config.string('quantization_status', 'initialized')
  // Folders that say frozen hold codes, too, and where a layer has none, its tensors tell.
  if (status !== 'compressed' && status !== 'frozen')
    throw config.error(
      'quantization_status',
      'must be "compressed" or "frozen": other weights are stored as floats',
    )
  if (config.has('moe_sparsity_config'))
    throw config.error(
      'moe_sparsity_config',
      'must be null: experts without some of their weights are not supported',
    )
  const sparsity = config.has('sparsity_config') ? config.object('sparsity_config') : null
  if (sparsity && sparsity.string('format', 'dense') !== 'dense')
    throw sparsity.error('format', 'must be "dense": sparse weights are not supported')
  const transforms = config.has('transform_config') ? config.object('transform_config') : null
  if (transforms && transforms.keys().length > 0)
    throw config.error(
      'transform_config',
      'must be empty: transforms of weights and inputs are not supported',
    )
}

/** @returns null of a group whose weights stay float */
function readGroup(group: JsonObject, config: JsonObject, warn: (message: string) => void): Group | null {
  const inputs = group.has('input_activations') ? readArgs(group.object('input_activations')) : null
  const passedOver = (what: string) => warn(`${group.where}.${what}`)
  if (group.has('output_activations')) passedOver('output_activations is passed over: outputs stay floats')
  if (!group.has('weights')) {
    if (inputs)
      passedOver('input_activations is passed over, since weights are not quantized: inputs stay floats')
    return null
  }
  const weights = readArgs(group.object('weights'))
  const format = formatOf(group, config, weights)
  const computed = inputs && inputsOf(inputs)
  if (inputs && !computed)
    passedOver(
      `input_activations is passed over: inputs of ${describe(inputs)} stay floats, and only weights are quantized`,
    )
  return { name: group.where, format, weights, activations: null, computeDtype: null, ...computed }
}

/** @throws FormatError unless lowbit reads the format, and such weights in it */
function formatOf(group: JsonObject, config: JsonObject, weights: QuantizationArgs): Format {
  const holder = group.has('format') ? group : config
  const name = holder.string('format')
  if (!Object.hasOwn(formats, name))
    throw holder.error('format', `must be one of ${Object.keys(formats).join(', ')}`)
  const { types, bits, strategies: known } = formats[name as Format]
  const args = group.object('weights')
  const must = (what: string) => `must be ${what} in the format ${name}`
  if (!types.some((type) => type === weights.type)) throw args.error('type', must(types.join(' or ')))
  const [least, most] = weights.type === 'float' ? [bits[1], bits[1]] : bits
  if (weights.bits < least || weights.bits > most)
    throw args.error('num_bits', must(least === most ? String(least) : `from ${least} to ${most}`))
  if (!known.some((strategy) => strategy === weights.strategy))
    throw args.error('strategy', must(known.join(', ')))
  if (weights.dynamic) throw args.error('dynamic', 'must be false of weights')
  if (weights.type === 'float' && !weights.symmetric) throw args.error('symmetric', 'must be true of floats')
  return name as Format
}

function readArgs(config: JsonObject): QuantizationArgs {
  const type = config.string('type', 'int').toLowerCase()
  if (type !== 'int' && type !== 'float') throw config.error('type', 'must be int or float')
  const size = config.number('group_size', 0)
  if (!Number.isInteger(size) || size < -1 || size > 2 ** 20)
    throw config.error('group_size', 'must be a whole number from 1 up, or -1')
  const inferred = size > 0 ? 'group' : size === -1 ? 'channel' : 'tensor'
  const strategy = strategies.find((one) => one === config.string('strategy', inferred).toLowerCase())
  if (!strategy) throw config.error('strategy', `must be one of ${strategies.join(', ')}`)
  if (strategy.endsWith('group') && size < 1)
    throw config.error('group_size', `must be a whole number from 1 up, with the strategy ${strategy}`)
  const dynamic = config.get('dynamic') ?? false
  if (typeof dynamic !== 'boolean' && dynamic !== 'local')
    throw config.error('dynamic', 'must be true, false or "local"')
  return {
    bits: config.count('num_bits', 8),
    type,
    symmetric: config.boolean('symmetric', true),
    strategy,
    groupSize: size,
    tile: strategy === 'block' ? tileOf(config) : [],
    dynamic: dynamic !== false,
    ordered: [true, 'group', 'dynamic'].some((one) => one === config.get('actorder')),
  }
}

/** `[128, 128]`, or `128x128` as older versions wrote it. */
function tileOf(config: JsonObject): number[] {
  const stored = config.get('block_structure')
  const sizes = typeof stored === 'string' ? stored.split('x').map(Number) : stored
  const fits =
    Array.isArray(sizes) && sizes.length === 2 && sizes.every((size) => Number.isInteger(size) && size > 0)
  if (!fits) throw config.error('block_structure', 'must be two whole numbers from 1 up, rows and columns')
  return sizes
}

/** How lowbit quantizes such inputs; null where it does not. */
function inputsOf({
  bits,
  type,
  symmetric,
  strategy,
  dynamic,
}: QuantizationArgs): Pick<Group, 'activations' | 'computeDtype'> | null {
  if (bits !== 8) return null
  const float = type === 'float'
  if (!dynamic && strategy === 'tensor' && symmetric)
    return { activations: float ? qfloat8_e4m3fn : qint8, computeDtype: null }
  if (!dynamic || strategy !== 'token') return null
  if (float) return { activations: null, computeDtype: 'float8PerToken' }
  return { activations: null, computeDtype: symmetric ? 'int8PerToken' : 'int8AsymmetricPerToken' }
}

/** `4-bit floats, dynamic, a scale for each group of 16` */
function describe({ bits, type, symmetric, strategy, groupSize, dynamic }: QuantizationArgs): string {
  const kind = `${bits}-bit ${type === 'int' ? 'integers' : 'floats'}${symmetric ? '' : ' with a zero point'}`
  const shared = strategy.endsWith('group') ? `group of ${groupSize}` : strategy
  return `${kind}, ${dynamic ? 'dynamic' : 'static'}, a scale for each ${shared},`
}
