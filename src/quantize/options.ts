import { ShapeError } from '../core/errors.ts'
import {
  aBoolean,
  aFunction,
  aNumber,
  aString,
  atLeast,
  check,
  either,
  isObject,
  listOf,
  oneOf,
  orNull,
  show,
} from '../core/kinds.ts'
import { checkOptions, type OptionKinds, required } from '../core/options.ts'
import { aQTypeOrName } from '../core/qtype.ts'
import { aModule, type Module } from '../nn/module.ts'
import { aComputeDType } from '../qtensor/computeDtype.ts'
import { aQuantizer, scaleKinds } from '../qtensor/quantizer.ts'
import { layerSets } from './layerSets.ts'
import { checkOverrides, someOverrides } from './overrides.ts'
import type { QuantizeOptions } from './quantize.ts'
import { quantizers } from './quantizers.ts'

/*
 * What may be asked of `quantize`, and of what passes such options on.
 */

const names = oneOf(...Object.keys(quantizers))
/** A glob, or several. */
export const someGlobs = either('be a glob or a list of globs', aString, listOf('globs', aString))

/** Which classes of layers. */
export const someLayers = either(
  'be default, quanto or a list of classes',
  oneOf(...Object.keys(layerSets)),
  listOf('classes', aFunction),
)

const optionKinds: OptionKinds<QuantizeOptions> = {
  weights: required(aQTypeOrName),
  activations: aQTypeOrName,
  include: someGlobs,
  exclude: someGlobs,
  algorithm: either(`${names.must}, or a quantizer of your own`, names, aQuantizer),
  groupSize: orNull(aNumber),
  computeDtype: aComputeDType,
  outlierThreshold: atLeast(0),
  layers: someLayers,
  overrides: someOverrides,
  strict: aBoolean,
  ...scaleKinds,
}

/** What options were called before. */
const renamed = {
  optimizer: 'what chooses scales is "algorithm"',
  hqqOptimizer: 'give the settings by algorithm: hqq({ iterations })',
}

/** @throws ShapeError or DTypeError for options that `quantize` does not have or cannot take */
export function checkQuantizeOptions(operation: string, options: QuantizeOptions): void {
  checkOptions(operation, options, optionKinds, renamed)
  checkOverrides(operation, options.overrides)
}

/** @throws ShapeError or DTypeError unless these are options of `quantize`, or null, by name or pattern */
export function checkRecipes(model: Module, recipes: Readonly<Record<string, QuantizeOptions | null>>): void {
  check('quantizeByName', 'model', model, aModule)
  if (!isObject(recipes))
    throw new ShapeError(
      `quantizeByName: recipes must be an object with options by name; received ${show(recipes)}`,
    )
  for (const [key, recipe] of Object.entries(recipes)) {
    if (key.startsWith('re:') && !isPattern(key.slice('re:'.length)))
      throw new ShapeError(
        `quantizeByName: a name with re: must be a regular expression; received ${show(key)}`,
      )
    if (recipe !== null) checkQuantizeOptions(`quantizeByName: ${show(key)}`, recipe)
  }
}

function isPattern(source: string): boolean {
  try {
    new RegExp(`^(?:${source})$`)
    return true
  } catch {
    return false
  }
}
