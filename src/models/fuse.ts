import { ShapeError } from '../core/errors.ts'
import { check, isObject, type Kind, wholeNumber } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { type FuseMapping, type FuseReport, fuseLayers } from '../nn/fuse.ts'
import { aModule, type Module } from '../nn/module.ts'
import { CausalLM } from './causalLM.ts'
import { keepCache } from './keptCache.ts'

/** How a model is fused, in the words of transformers' `AwqConfig`. */
export interface FuseOptions {
  /**
   * Tokens of a prompt and its text together, at most the model's context. A cache of as many is made once and
   * used by all generations; longer ones are refused. Rotary frequencies that depend on the length of a text
   * (longrope's) are those of so many tokens. Default: a cache for each generation, as long as it is.
   */
  fuseMaxSeqLen?: number
  /**
   * Names of the layers of modules of your own, `modules_to_fuse`; those of lowbit's families are known
   * already.
   */
  mapping?: FuseMapping
}

const optionKinds: OptionKinds<FuseOptions> = {
  fuseMaxSeqLen: wholeNumber(1),
  mapping: {
    must: 'be an object with names of layers',
    holds: (value) => isObject(value) && !Array.isArray(value),
  },
}

const someNames: Kind = {
  must: 'be a list of names of two or more layers and that of the output',
  holds: (value) => Array.isArray(value) && value.length > 2 && value.every((one) => typeof one === 'string'),
}
const mappingKinds: OptionKinds<FuseMapping> = { attention: someNames, mlp: someNames }

/**
 * Fuses products of the same input, in place: of queries, keys and values, and of gate and values. Their
 * weights are laid one behind the other in memory, so that a step of generation multiplies them as one; the
 * model gives what it gave before, bit for bit, and paths, parameters and what is saved stay as they are.
 *
 *     const { fused, apart } = fuse(model, { fuseMaxSeqLen: 512 })
 *
 * It is done last: layers whose weights are replaced, or that are quantized anew, compute apart again, as
 * those of a copy do.
 * @returns which layers are computed together, and why others are not: only weights of the same type, groups
 * and encoding are one
 * @throws ShapeError if the model trains, is not frozen or has no weights yet, or an option does not fit it
 */
export function fuse(model: Module, options: FuseOptions = {}): FuseReport {
  check('fuse', 'model', model, aModule)
  checkOptions('fuse', options, optionKinds)
  const { fuseMaxSeqLen, mapping = {} } = options
  checkOptions('fuse: mapping', mapping, mappingKinds)
  if (fuseMaxSeqLen !== undefined) checkLength('fuse', model, fuseMaxSeqLen)
  const report = fuseLayers(model, mapping)
  if (fuseMaxSeqLen !== undefined) keepCache(model as CausalLM, fuseMaxSeqLen)
  return report
}

/** @throws ShapeError unless a model has a context of so many tokens */
export function checkLength(operation: string, model: Module, fuseMaxSeqLen: number): void {
  if (!(model instanceof CausalLM))
    throw new ShapeError(`${operation}: fuseMaxSeqLen is for language models; received a ${model.typeName}`)
  const { maxPositions } = model.config
  if (fuseMaxSeqLen > maxPositions)
    throw new ShapeError(
      `${operation}: fuseMaxSeqLen must be at most the model's context of ${maxPositions} tokens; received ${fuseMaxSeqLen}`,
    )
}
