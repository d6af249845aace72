import { host } from '#host'
import type { LoadPlan, PlannedParameter } from '../checkpoints/plan.ts'
import { ShapeError } from '../core/errors.ts'
import { aNumber, aString, isObject, type Kind, show } from '../core/kinds.ts'
import type { Module, Parameter } from '../nn/module.ts'
import { globMatcher } from '../quantize/glob.ts'
import { checkGlobs } from '../quantize/quantize.ts'
import { copyOnDisk } from '../tensor/copyOnDisk.ts'
import { keep, scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import type { CausalLM } from './causalLM.ts'

/*
 * A model larger than memory: weights that have no room lie in a file that the system maps into memory. What
 * is used is read then, and goes again when the memory is needed.
 */

/** Where the weights of a model lie. */
export interface PlacementOptions {
  /**
   * Globs of layers and where their weights lie, the first that fits, as transformers' `device_map` says it:
   * `{ 'model.layers.1?': 'disk' }`. Others lie in memory while `maxMemory` has room. Weights on disk are
   * read when they are used, and want the native device.
   */
  placement?: Readonly<Record<string, 'memory' | 'disk'>>
  /** Bytes of weights that lie in memory; what comes later in the model lies on disk. Default: no limit. */
  maxMemory?: number
  /** The folder of the file, which has no name and goes with the model. Default: that of temporary files. */
  offloadFolder?: string
}

/** What they may be. */
export const placementKinds: Readonly<Record<keyof PlacementOptions, Kind>> = {
  placement: {
    must: 'be an object of globs, each with memory or disk',
    holds: (value) =>
      isObject(value) && Object.values(value).every((each) => each === 'memory' || each === 'disk'),
  },
  maxMemory: aNumber,
  offloadFolder: aString,
}

/**
 * The parameters that lie on disk.
 * @param sizes bytes that each of them takes
 * @throws ShapeError if a glob matches no layer
 */
export function onDisk(
  { model, parameters }: LoadPlan<CausalLM>,
  sizes: readonly number[],
  { placement = {}, maxMemory = Infinity }: PlacementOptions,
): Set<PlannedParameter> {
  checkGlobs(model, Object.keys(placement), 'loadCausalLM: placement')
  const rules = Object.entries(placement).map(([glob, place]) => ({ matches: globMatcher(glob), place }))
  const chosen = new Set<PlannedParameter>()
  let held = 0
  for (const [i, planned] of parameters.entries()) {
    const found = rules.find(({ matches }) => planned.paths.some((path) => ancestors(path).some(matches)))
    const fits = held + sizes[i] <= maxMemory
    if (found?.place === 'disk' || (!found && !fits)) chosen.add(planned)
    else held += sizes[i]
  }
  if (held > maxMemory)
    throw new ShapeError(
      `loadCausalLM: maxMemory must hold the weights that placement puts into memory, ${held} bytes; received ${show(maxMemory)}`,
    )
  return chosen
}

/** The paths of all modules that a parameter is in: `a.b.weight` is in `a.b`, `a`, and the whole model. */
function ancestors(path: string): string[] {
  const names = path.split('.')
  return names.map((_, i) => names.slice(0, names.length - 1 - i).join('.'))
}

/** Moves parameters to a file of the folder; one that several paths share is moved once. */
export function moveParameters(model: Module, paths: readonly string[], folder = temporaryFolder()): void {
  const moved = new Map<Parameter, Parameter>()
  for (const path of paths) {
    const parameter = model.getParameter(path)
    const there = moved.get(parameter) ?? copyToDisk(parameter, folder)
    moved.set(parameter, there)
    model.setParameter(path, there)
  }
  for (const parameter of moved.keys()) parameter.dispose()
}

function copyToDisk(parameter: Parameter, folder: string): Parameter {
  const copy = (tensor: Tensor) => copyOnDisk(tensor, folder)
  return keep(scope(() => (parameter instanceof Tensor ? copy(parameter) : parameter.clone(copy))))
}

function temporaryFolder(): string {
  return host.variable('TMPDIR') ?? '/tmp'
}
