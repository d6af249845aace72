import { several } from '../core/lists.ts'
import type { LayerToWrite, SchemeWriter } from '../formats/schemes/scheme.ts'
import type { Module } from '../nn/module.ts'
import { QWeightModule } from '../nn/qmodule.ts'
import type { ComputeDType } from '../qtensor/computeDtype.ts'

/** How a layer's inputs are rounded anew in every pass. */
export type InputMode = Pick<LayerToWrite, 'outlierThreshold'> & { readonly computeDtype: ComputeDType }

/** What a call chooses, whatever the model: no format says it. */
const choices: readonly (ComputeDType | null)[] = [null, 'float32', 'bfloat16', 'int8']

/** The layers of a model, by all their paths, whose inputs are rounded as a checkpoint or a recipe says. */
export function inputModes(model: Module): Map<string, InputMode> {
  return new Map(
    [...model.namedModules({ removeDuplicate: false })].flatMap(([path, module]) => {
      // Others look rows up, or compute on floats.
      if (!(module instanceof QWeightModule && module.inputQuantized)) return []
      const { computeDtype, outlierThreshold } = module
      if (computeDtype === null || choices.includes(computeDtype)) return []
      return [[path, { computeDtype, outlierThreshold }] as const]
    }),
  )
}

/**
 * What is lost of how inputs are rounded, a sentence each: readers of the format do not learn of it.
 * @param writer null where weights become floats
 * @param layers as they are written, by path
 */
export function lostInputs(
  modes: ReadonlyMap<string, InputMode>,
  writer: SchemeWriter | null,
  layers: ReadonlyMap<string, LayerToWrite>,
): string[] {
  const isSaid = (path: string, { computeDtype, outlierThreshold }: InputMode) => {
    const layer = layers.get(path)
    if (!layer || layer.computeDtype !== computeDtype || !writer?.computes?.(layer)) return false
    return computeDtype !== 'int8Outliers' || layer.outlierThreshold === outlierThreshold
  }
  const lost = [...modes].filter(([path, mode]) => !isSaid(path, mode))
  return [...new Set(lost.map(([, { computeDtype }]) => computeDtype))].map((computeDtype) => {
    const paths = several(lost.flatMap(([path, mode]) => (mode.computeDtype === computeDtype ? [path] : [])))
    return `inputs are rounded anew in every pass (${computeDtype}) in ${paths}; the format does not say so, and its readers compute otherwise`
  })
}
