import { openFolder } from '#files'
import type { FloatDType } from '../core/dtype.ts'
import { DTypeError } from '../core/errors.ts'
import type { Device } from '../devices/device.ts'
import { openDevice } from '../devices/open.ts'
import type { Folder } from '../formats/source.ts'
import type { Parameter } from '../nn/module.ts'
import { QLinear } from '../nn/qlinear.ts'
import { type QuantizeOptions, quantize } from '../quantize/quantize.ts'
import { Tensor } from '../tensor/tensor.ts'
import { planFolder } from './folderPlan.ts'
import type { LlamaForCausalLM } from './llama.ts'
import { type LoadPlan, parameterPaths, parentOf } from './plan.ts'

export interface LoadOptions {
  /** Where to compute; default: `openDevice('cpu')`. */
  device?: Device
  /** What unquantized weights are stored as; default: as saved. */
  dtype?: FloatDType
  /**
   * Quantizes while loading, tensor by tensor: the same result as load, `quantize`, `freeze`, without ever holding the float model.
   * `{ method: 'quanto', weights: 'int4', exclude: 'lm_head' }`
   */
  quantization?: { method: 'quanto' } & QuantizeOptions
  signal?: AbortSignal
  /** Called with the bytes read so far, and all. */
  onProgress?: (bytes: number, totalBytes: number) => void
}

/**
 * Loads a causal language model: a folder in Hugging Face layout (or its URL, or hub id), float or saved by quanto.
 * @throws FormatError if a file is missing, broken, or does not fit the others
 */
export async function loadCausalLM(place: string | Folder, options: LoadOptions = {}): Promise<LlamaForCausalLM> {
  const plan = await planCausalLM(place)
  const { model, parameters } = plan
  try {
    const device = options.device ?? openDevice()
    const uses = parameterPaths(model)
    const pathsOf = new Map([...uses.values()].map((paths) => [paths[0], paths]))
    if (options.quantization) quantizeEmpty(plan, options.quantization)
    const total = parameters.reduce((sum, { byteLength }) => sum + byteLength, 0)
    let done = 0
    for (const planned of parameters) {
      options.signal?.throwIfAborted()
      const parameter = await planned.load(device, options.dtype)
      put(model, pathsOf.get(planned.path) ?? [planned.path], parameter, options.quantization !== undefined)
      // The queue holds a copy of what it has not written yet: wait, so that there is never more than one tensor of it.
      await device.sync()
      done += planned.byteLength
      options.onProgress?.(done, total)
    }
    return model
  } catch (error) {
    model.dispose()
    throw error
  } finally {
    await plan.close()
  }
}

/** Puts quantized twins, still without weights, into the plan's model. */
function quantizeEmpty({ name, scheme, model }: LoadPlan, { method, ...options }: NonNullable<LoadOptions['quantization']>): void {
  if (method !== 'quanto') throw new DTypeError(`loadCausalLM: quantization.method must be "quanto"; received ${JSON.stringify(method)}`)
  if (scheme !== 'none')
    throw new DTypeError(`loadCausalLM: ${name} must be a float model to be quantized while loading; it is quantized by ${scheme}`)
  quantize(model, options)
}

/** Puts a parameter wherever it stands; where `freezing`, quantized twins take its codes, and the float goes unless another module holds it. */
function put(model: LlamaForCausalLM, paths: readonly string[], parameter: Parameter, freezing: boolean): void {
  let held = false
  for (const path of paths) {
    const module = model.getModule(parentOf(path))
    model.setParameter(path, parameter)
    if (freezing && module instanceof QLinear && parameter instanceof Tensor && path.endsWith('.weight')) module.freeze(true)
    else held = true
  }
  if (!held) parameter.dispose()
}

/** Reads everything but the weights; the plan's model has shapes only. The caller closes the plan. */
export async function planCausalLM(place: string | Folder): Promise<LoadPlan> {
  return planFolder(typeof place === 'string' ? await openFolder(place) : place)
}
