import type { FloatDType } from '../core/dtype.ts'
import type { Device } from '../devices/device.ts'
import type { QuantizedFile } from '../formats/schemes/scheme.ts'
import type { TensorFile } from '../formats/tensorFile.ts'
import type { Module, Parameter } from '../nn/module.ts'
import { readActivationScales } from './activationScales.ts'
import { matchTensors, type Source } from './match.ts'
import { type Problem, refuseProblems } from './problems.ts'
import { readSource } from './read.ts'
import { defaultScheme } from './save.ts'
import { Staging } from './staging.ts'

/**
 * What a state dictionary and a model did not have in common, as PyTorch's `load_state_dict` says it; with
 * `strict` both are empty.
 */
export interface LoadedState {
  /** Of the model: they are as they were. */
  missingKeys: string[]
  /** Of the state dictionary. */
  unexpectedKeys: string[]
}

/** How a model is filled. */
export interface FillOptions {
  readonly device: Device
  /** What float tensors become; default: as saved. */
  readonly dtype?: FloatDType
  /** Whether every tensor of either has to be in the other. */
  readonly strict: boolean
}

/**
 * Puts every tensor of a model that a file holds in its place; nothing is put before all are read.
 * @throws FormatError that lists what does not fit; the model is then as before
 */
export async function fillModel(
  model: Module,
  file: TensorFile,
  quantized: QuantizedFile | null,
  { device, dtype, strict }: FillOptions,
): Promise<LoadedState> {
  const { sources, problems } = matchTensors(model, file, quantized)
  const namesOf = (wanted: Problem['kind']) =>
    problems.flatMap(({ kind, tensor }) => (kind === wanted ? [tensor] : []))
  const [missingKeys, unexpectedKeys] = [namesOf('missing'), namesOf('unexpected')]
  // A map says how layers are quantized in the scheme that states have by default, and in no other.
  const { trace } = defaultScheme()
  const isCoded = unexpectedKeys.includes(trace?.(file) ?? '')
  refuseProblems(
    `${file.name}: the tensors must be those of the model`,
    strict ? problems : problems.filter(({ kind }) => kind === 'misfit'),
    strict && isCoded ? 'quantized layers must be in the map that requantize takes' : undefined,
  )
  const loaded = new Map<Source, Parameter>()
  const reading = { device, file, dtype, staging: new Staging() }
  try {
    for (const source of sources) loaded.set(source, await readSource(source, reading))
    await readActivationScales(device, file, model, strict)
  } catch (error) {
    for (const parameter of loaded.values()) parameter.dispose()
    throw error
  }
  const old = new Set([...model.namedTensors()].map(([, tensor]) => tensor))
  for (const [{ places }, parameter] of loaded)
    for (const { path } of places) model.setParameter(path, parameter)
  const held = new Set([...model.namedTensors()].map(([, tensor]) => tensor))
  for (const tensor of [...old, ...loaded.values()]) if (!held.has(tensor)) tensor.dispose()
  return { missingKeys, unexpectedKeys }
}
