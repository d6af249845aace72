import { matrixShape } from '../../qtensor/parts.ts'
import type { GptqVersion } from './gptqSettings.ts'
import { groupsIn, isSymmetric } from './integerCodes.ts'
import { floatLinears, isHead } from './linearLayers.ts'
import type { FloatLayer, LayerToWrite, WeightKind } from './scheme.ts'

/** What GPTQModel names a layer's settings. */
interface LayerFields {
  readonly bits: number
  readonly group_size: number
  readonly sym: boolean
}

/**
 * What config.json and quantize_config.json say: the settings of most layers, and those of the others by
 * path.
 */
export function gptqConfig(
  version: GptqVersion,
  layers: ReadonlyMap<string, LayerToWrite>,
  floats: readonly FloatLayer[],
): Record<string, unknown> {
  const kinds = [...layers].flatMap(([path, { weight }]) => (weight ? [{ path, weight }] : []))
  const all = mostCommon(kinds.map(({ weight }) => fieldsOf(weight))) ?? {
    ...{ bits: 4, group_size: 128, sym: true },
  }
  const dynamic: Record<string, object> = {}
  for (const { path, weight } of kinds) {
    const different = differences(fieldsOf(weight), all, matrixShape(weight.shape)[1])
    if (different) dynamic[`+:${exactly(path)}`] = different
  }
  for (const path of floatLinears(floats)) dynamic[`-:${exactly(path)}`] = {}
  return {
    bits: all.bits,
    ...(Object.keys(dynamic).length > 0 ? { dynamic } : {}),
    group_size: all.group_size,
    desc_act: kinds.some(({ weight }) => weight.reordered),
    lm_head: kinds.some(({ path }) => isHead(path)),
    quant_method: 'gptq',
    format: version,
    checkpoint_format: version,
    pack_dtype: 'int32',
    sym: all.sym,
    // GPTQModel takes zero points less one of any value where a version that takes one as it does wrote them.
    meta: { quantizer: ['lowbit', 'gptqmodel:0.9.0'] },
  }
}

function fieldsOf(weight: WeightKind): LayerFields {
  const { size, groups } = groupsIn(weight)
  return {
    bits: weight.qtype.bits,
    group_size: groups === 1 ? -1 : size,
    sym: isSymmetric(weight),
  }
}

/** The settings that most layers have; of groups, of those that have some. */
function mostCommon(fields: readonly LayerFields[]): LayerFields | undefined {
  const counts = new Map<string, number>()
  const grouped = fields.filter(({ group_size }) => group_size !== -1)
  for (const one of grouped.length > 0 ? grouped : fields) {
    const key = JSON.stringify(one)
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  const [first] = [...counts].sort(([, a], [, b]) => b - a)
  return first && JSON.parse(first[0])
}

/** What of a layer's settings is not as in `all`; null where nothing is. A row may be less than a group. */
function differences(own: LayerFields, all: LayerFields, columns: number): Partial<LayerFields> | null {
  const same = (key: keyof LayerFields) =>
    own[key] === all[key] || (key === 'group_size' && own.group_size === -1 && all.group_size >= columns)
  const keys = (['bits', 'group_size', 'sym'] as const).filter((key) => !same(key))
  return keys.length > 0 ? Object.fromEntries(keys.map((key) => [key, own[key]])) : null
}

/** The pattern of one path. */
function exactly(path: string): string {
  return `^${path.replace(/[.^$*+?{}[\]()|\\]/g, '\\$&')}$`
}
