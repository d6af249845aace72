import { ShapeError } from '../core/errors.ts'
import { aBoolean, aNumber, anObject, isObject, type Kind, orNull, show, wholeNumber } from '../core/kinds.ts'
import { nearest } from '../core/nearest.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { aQTypeOrName, type QType, type QTypeName, qint8, unsignedType } from '../core/qtype.ts'
import type { Module } from '../nn/module.ts'
import type { Quantizer } from '../qtensor/quantizer.ts'
import {
  aGgufType,
  type GgufQuantizedType,
  type GgufQuantizer,
  ggufCodes,
  ggufQuantizer,
} from './ggufQuantizers.ts'
import { globMatcher } from './glob.ts'
import type { QuantizerName } from './quantizers.ts'

/** What of `quantize` is otherwise for some layers. */
export interface LayerOverride {
  /** The type of their weights. */
  weights?: QType | QTypeName
  /** The same of integers, 1 to 8: GPTQ's word. */
  bits?: number
  /** The same of GGUF's types, such as `Q6_K`: imatrix's word. At most one of the three. */
  type?: GgufQuantizedType
  /** Columns that share a scale; null, or GPTQ's −1, for a whole row. */
  groupSize?: number | null
  /** Whether ranges lie around 0. */
  symmetric?: boolean
}

/**
 * By path, glob or `re:` with a regular expression for the whole of a path: what is otherwise for these
 * layers; null: they stay float. The first that fits a layer counts, as in GPTQ's `dynamic`.
 */
export type LayerOverrides = Readonly<Record<string, LayerOverride | null>>

const overrideKinds: OptionKinds<LayerOverride> = {
  weights: aQTypeOrName,
  bits: wholeNumber(1, 8),
  type: aGgufType,
  groupSize: orNull(aNumber),
  symmetric: aBoolean,
}

/** Overrides by pattern; `checkOverrides` says what is wrong with one of them. */
export const someOverrides: Kind = { ...anObject, must: 'be an object with options by glob or re: pattern' }

/** @throws ShapeError or DTypeError unless each is an override, or null, at a pattern that can be read */
export function checkOverrides(operation: string, overrides: LayerOverrides | undefined): void {
  for (const [pattern, override] of Object.entries(overrides ?? {})) {
    patternMatcher(pattern, operation)
    if (override === null) continue
    const at = `${operation}: overrides: ${show(pattern)}`
    if (!isObject(override))
      throw new ShapeError(`${at} must be an object or null; received ${show(override)}`)
    checkOptions<LayerOverride>(at, override, overrideKinds)
    const said = (['weights', 'bits', 'type'] as const).filter((name) => override[name] !== undefined)
    if (said.length > 1)
      throw new ShapeError(`${at} must say one of weights, bits and type; received ${said.join(' and ')}`)
  }
}

/** The override of a layer, by all its paths; undefined where none fits. */
export function overridesOf(
  model: Module,
  overrides: LayerOverrides = {},
): (paths: readonly string[]) => LayerOverride | null | undefined {
  const all = [...model.modulePaths()].flatMap(([, paths]) => paths).filter((path) => path !== '')
  const fits = Object.keys(overrides).map((pattern) => {
    const matches = patternMatcher(pattern, 'quantize')
    if (!all.some(matches))
      throw new ShapeError(
        `quantize: overrides: ${show(pattern)} must match a module; the nearest are ${nearest(pattern, all).join(', ')}`,
      )
    return { pattern, matches }
  })
  return (paths) => {
    const found = fits.find(({ matches }) => paths.some(matches))
    return found && overrides[found.pattern]
  }
}

/** The options of `quantize` with an override in their place. */
export function overridden<
  Options extends {
    weights: QType | QTypeName
    groupSize?: number | null
    symmetric?: boolean
    zeroPoints?: boolean
    algorithm?: QuantizerName | Quantizer
  },
>(options: Options, override: LayerOverride | undefined): Options {
  if (!override) return options
  if (override.type !== undefined) return { ...options, ...ofGgufType(override.type, options.algorithm) }
  const { weights, bits, groupSize, symmetric = options.symmetric } = override
  const around = symmetric || !options.zeroPoints
  const type = bits === undefined ? weights : bits === 8 && around ? qint8 : unsignedType(bits)
  return {
    ...options,
    ...(type !== undefined && { weights: type }),
    ...(groupSize !== undefined && { groupSize: groupSize === -1 ? null : groupSize }),
    ...(symmetric !== undefined && { symmetric }),
  }
}

/** Blocks of a type, weighed by importance where the others are. */
function ofGgufType(type: GgufQuantizedType, algorithm: QuantizerName | Quantizer | undefined) {
  const quantizer = isGguf(algorithm) ? algorithm.ofType(type) : ggufQuantizer(type)
  return { weights: ggufCodes(type), groupSize: null, algorithm: quantizer }
}

function isGguf(algorithm: QuantizerName | Quantizer | undefined): algorithm is GgufQuantizer {
  return typeof algorithm === 'object' && 'ofType' in algorithm
}

function patternMatcher(pattern: string, operation: string): (path: string) => boolean {
  if (!pattern.startsWith('re:')) return globMatcher(pattern)
  try {
    const expression = new RegExp(`^(?:${pattern.slice('re:'.length)})$`)
    return (path) => expression.test(path)
  } catch {
    throw new ShapeError(
      `${operation}: overrides: a name with re: must be a regular expression; received ${show(pattern)}`,
    )
  }
}
