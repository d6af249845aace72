import { anyOf } from '../../core/lists.ts'
import type { JsonObject } from '../json.ts'
import { readGroupSize } from './integerGroups.ts'
import { pathPattern } from './pathPattern.ts'

/** How weights are laid out, see awq.ts. */
export type AwqVersion = 'gemm' | 'gemv' | 'gemv_fast' | 'llm-awq'

/** What the settings of AWQ say. */
export interface AwqSettings {
  readonly version: AwqVersion
  /** Columns that share a scale; null: the row. */
  readonly groupSize: number | null
  /** Whether every zero point is the middle of the codes. */
  readonly symmetric: boolean
  /** Whether a layer is to be a float. */
  isFloat(path: string): boolean
}

/** Versions, and what transformers called that which it loads the files of the first for. */
const versions: Readonly<Record<string, AwqVersion>> = {
  gemm: 'gemm',
  gemv: 'gemv',
  gemv_fast: 'gemv_fast',
  'llm-awq': 'llm-awq',
  exllama: 'gemm',
  ipex: 'gemm',
}

/**
 * Reads the settings as transformers names them (`bits`, `group_size`), or as AutoAWQ's own file does
 * (`w_bit`, `q_group_size`).
 * Source: AutoAWQ 0.2.9, models/_config.py; transformers 5, `AwqConfig`; GPTQModel 7.7,
 * quantization/config.py.
 * @throws FormatError
 */
export function readAwqSettings(config: JsonObject): AwqSettings {
  const either = (key: string, older: string) => (config.has(key) ? key : older)
  const bitsKey = either('bits', 'w_bit')
  const bits = config.count(bitsKey, 4)
  if (bits !== 4) throw config.error(bitsKey, "must be 4, as AWQ's packings are")
  const dynamic = config.get('dynamic')
  if (dynamic !== undefined && dynamic !== false)
    throw config.error('dynamic', 'must be absent: settings of single layers are not supported with AWQ')
  const floats = config.has('modules_to_not_convert') ? config.strings('modules_to_not_convert') : []
  return {
    version: readVersion(config),
    groupSize: readGroupSize(config, either('group_size', 'q_group_size'), 128),
    symmetric: !config.boolean('zero_point', true),
    isFloat: (path) => floats.some((name) => names(name, path)),
  }
}

function readVersion(config: JsonObject): AwqVersion {
  if (config.get('backend') === 'llm-awq') return 'llm-awq'
  const key = ['version', 'format', 'checkpoint_format'].find((one) => config.has(one)) ?? 'version'
  const version = config.string(key, 'gemm').toLowerCase().replace('llm_awq', 'llm-awq')
  if (Object.hasOwn(versions, version)) return versions[version]
  const marlin = ['marlin', 'bitblas'].includes(version)
    ? `; of ${version}, it is laid out for one GPU kernel's tiles`
    : ''
  throw config.error(key, `must be ${anyOf(['gemm', 'gemv', 'gemv_fast', 'llm-awq'])}${marlin}`)
}

/**
 * Whether `modules_to_not_convert` names a path: AutoAWQ looks for a part of it, transformers for a pattern.
 */
function names(name: string, path: string): boolean {
  return path.includes(name) || (pathPattern(`(?:${name})(?:(?<=\\.)|(?=\\.|$))`)?.test(path) ?? false)
}
