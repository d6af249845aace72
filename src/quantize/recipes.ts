import { DTypeError, ShapeError } from '../core/errors.ts'
import { oneOf, orNull, wholeNumber } from '../core/kinds.ts'
import { nearest } from '../core/nearest.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { qfloat8_e4m3fn, qint4, qint8 } from '../core/qtype.ts'
import type { Module } from '../nn/module.ts'
import { chooseScales, decodeRows, encodeRows, smallestNormal } from '../qtensor/rows.ts'
import { Tensor } from '../tensor/tensor.ts'
import { groupQuantizer } from './groupQuantizer.ts'
import { checkRecipes } from './options.ts'
import { isQuantizable, planTwins, type QuantizeOptions } from './quantize.ts'
import {
  type Mapping,
  mappings,
  roundToZeroPoint,
  storageOf,
  torchaoFloat8,
  torchaoInt8,
} from './torchaoQuantizers.ts'

export type { Mapping } from './torchaoQuantizers.ts'

/*
 * torchao's recipes for dense weights are options of `quantize`, with the scales and codes of torchao:
 *
 *     quantize(model, int8WeightOnly())
 *     quantize(model, { ...int4WeightOnly({ groupSize: 64 }), exclude: 'lm_head' })
 *
 * Source: torchao 0.18, quantization/quant_api.py, and the tensor classes in
 * quantization/quantize_/workflows.
 */

/** int1 to int8, as torchao names the types of weights. */
export type IntxName = `int${1 | 2 | 3 | 4 | 5 | 6 | 7 | 8}`

/** The options of the recipes for 1 to 8 bits. */
export interface IntxOptions {
  /** The integers of the weights; those of 1, 3, 6 and 7 bits are stored in 2, 4 and 8. Default: int8. */
  weightDtype?: IntxName
  /** Columns that share a scale; null for a whole row. */
  groupSize?: number | null
  /**
   * How a group's range becomes a scale and a zero point. Default: symmetric, max |w| / ((qmax − qmin) / 2).
   */
  mapping?: Mapping
}

/** How a recipe groups the weights. */
export interface GroupOptions {
  /** Columns that share a scale; null for a whole row. */
  groupSize?: number | null
}

const groupKinds: OptionKinds<GroupOptions> = { groupSize: orNull(wholeNumber(1)) }
const intxKinds: OptionKinds<IntxOptions> = {
  ...groupKinds,
  weightDtype: { ...oneOf(...[1, 2, 3, 4, 5, 6, 7, 8].map((bits) => `int${bits}`)), error: DTypeError },
  mapping: oneOf(...Object.keys(mappings)),
}

/**
 * 4-bit weights in groups, scale = (max − min) / 15 and a float zero point, the middle of the range.
 * torchao's Int4WeightOnlyConfig. torchao needs a GPU to store them; the codes are those of its reference
 * functions.
 */
export function int4WeightOnly(options: GroupOptions = {}): QuantizeOptions {
  checkOptions('int4WeightOnly', options, groupKinds)
  const { groupSize = 128 } = options
  return { weights: qint4, groupSize, algorithm: tinygemm }
}

/*
 * Recipes are plain options of `quantize`, so that `include`, `exclude` and the rest combine with them; what
 * torchao does differently from quanto lies in their quantizer.
 */

/** 8-bit weights, scale = max |w| / 127.5 of each row or group. torchao's Int8WeightOnlyConfig. */
export function int8WeightOnly(options: GroupOptions = {}): QuantizeOptions {
  checkOptions('int8WeightOnly', options, groupKinds)
  const { groupSize = null } = options
  return { weights: qint8, groupSize, algorithm: torchaoInt8 }
}

/**
 * 8-bit weights a row, and activations rounded to 8 bits in every pass, a scale for each token. torchao's
 * Int8DynamicActivationInt8WeightConfig.
 */
export function int8DynamicActivationInt8Weight(options: Record<string, never> = {}): QuantizeOptions {
  checkOptions('int8DynamicActivationInt8Weight', options, {})
  return { ...int8WeightOnly(), computeDtype: 'int8PerToken' }
}

/**
 * Weights of 1 to 8 bits, and activations rounded to 8 bits in every pass, a scale and a zero point for each
 * token. torchao's Int8DynamicActivationIntxWeightConfig.
 */
export function int8DynamicActivationIntxWeight(options: IntxOptions = {}): QuantizeOptions {
  checkOptions('int8DynamicActivationIntxWeight', options, intxKinds)
  const { groupSize = 32, ...others } = options
  return { ...intxWeightOnly({ groupSize, ...others }), computeDtype: 'int8AsymmetricPerToken' }
}

/** `int8DynamicActivationIntxWeight` with 4 bits, as torchao's Int8DynamicActivationInt4WeightConfig was. */
export function int8DynamicActivationInt4Weight(options: GroupOptions = {}): QuantizeOptions {
  checkOptions('int8DynamicActivationInt4Weight', options, groupKinds)
  return int8DynamicActivationIntxWeight({ weightDtype: 'int4', groupSize: options.groupSize })
}

/** float8 weights (e4m3), scale = max |w| / 448 of each row. torchao's Float8WeightOnlyConfig. */
export function float8WeightOnly(options: Record<string, never> = {}): QuantizeOptions {
  checkOptions('float8WeightOnly', options, {})
  return { weights: qfloat8_e4m3fn, groupSize: null, algorithm: torchaoFloat8 }
}

/**
 * float8 weights a row, and activations rounded to float8 in every pass, a scale for each token. torchao's
 * Float8DynamicActivationFloat8WeightConfig with PerRow.
 */
export function float8DynamicActivationFloat8Weight(options: Record<string, never> = {}): QuantizeOptions {
  checkOptions('float8DynamicActivationFloat8Weight', options, {})
  return { ...float8WeightOnly(), computeDtype: 'float8PerToken' }
}

/**
 * Weights of 1 to 8 bits around an integer zero point, a scale for each row or group. torchao's
 * IntxWeightOnlyConfig.
 */
export function intxWeightOnly(options: IntxOptions = {}): QuantizeOptions {
  checkOptions('intxWeightOnly', options, intxKinds)
  const { weightDtype = 'int8', groupSize = null, mapping = 'symmetric' } = options
  const bits = Number(weightDtype.slice('int'.length))
  return {
    weights: storageOf(bits),
    groupSize,
    algorithm: groupQuantizer('intx', (groups) =>
      roundToZeroPoint(groups, bits, mapping, smallestNormal(groups.dtype)),
    ),
  }
}

/**
 * zero = min + 8 · scale, shift = 8 · scale − zero: with every operation rounded, not always −min.
 * Source: torchao 0.18, quant_primitives.py, `_choose_qparams_affine_tinygemm` and
 * `_quantize_affine_tinygemm`.
 */
const tinygemm = groupQuantizer('tinygemm', (groups, type) => {
  const { scale, shift } = chooseScales(groups, 'range', { ...type, offset: 'shift' })
  const one = Tensor.full(groups.device, [], 1)
  const eights = encodeRows(Tensor.full(groups.device, scale.shape, 8), { scale: one }, type)
  // 8 · scale − shift is what dequantizing code 8 gives.
  const middle = (minus: Tensor | null) => decodeRows(eights, { scale, shift: minus }, type)
  return { scale, shift: middle(middle(shift)) }
})

/**
 * Quantizes each layer by the first of these that fits its path: its name; a pattern `re:…` that matches the
 * whole of it, in order; `_default`. null leaves a layer as it is. torchao's FqnToConfig.
 *
 *     quantizeByName(model, { lm_head: null, 're:.*\\.mlp\\..*': int4WeightOnly(), _default: int8WeightOnly() })
 *
 * @returns the paths of the modules replaced
 * @throws ShapeError if a name or pattern matches no module, or as `quantize`; the model is then as before
 */
export function quantizeByName(model: Module, recipes: Record<string, QuantizeOptions | null>): string[] {
  checkRecipes(model, recipes)
  const modules = [...model.modulePaths()].filter(([module]) => module !== model)
  const paths = modules.flatMap(([, all]) => all)
  const patterns = Object.keys(recipes).filter((key) => key.startsWith('re:'))
  const expressions = new Map(patterns.map((key) => [key, new RegExp(`^(?:${key.slice('re:'.length)})$`)]))
  for (const key of Object.keys(recipes)) {
    const found = key === '_default' || paths.some((path) => expressions.get(key)?.test(path) ?? path === key)
    if (!found)
      throw new ShapeError(
        `quantizeByName: ${JSON.stringify(key)} must match a module; the nearest are ${nearest(key, paths).join(', ')}`,
      )
  }
  const chosen = new Map<QuantizeOptions, string[]>()
  for (const [module, all] of modules) {
    const named = all.find((path) => Object.hasOwn(recipes, path))
    const key =
      named ??
      patterns.find((pattern) => all.some((path) => expressions.get(pattern)?.test(path))) ??
      '_default'
    const recipe = recipes[key]
    if (recipe && isQuantizable(module, recipe.layers))
      chosen.set(recipe, [...(chosen.get(recipe) ?? []), all[0]])
  }
  const planned = [...chosen].flatMap(([recipe, include]) => [...planTwins(model, { ...recipe, include })])
  model.replaceModules(new Map(planned.map(([, { layer, twin }]) => [layer, twin])))
  return planned.map(([path]) => path)
}
