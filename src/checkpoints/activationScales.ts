import { isFloatDType, viewAs } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import { toNumbers } from '../core/halves.ts'
import type { Device } from '../devices/device.ts'
import { type TensorFile, tensorInfo } from '../formats/tensorFile.ts'
import { joinPath, type Module } from '../nn/module.ts'
import { activationScales, QModule, scalesInUse } from '../nn/qmodule.ts'
import { keep } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'

/**
 * The scales of one module's activations in a checkpoint; 1 says that there is none, undefined
 * one that is missing.
 */
export interface SavedScales {
  readonly path: string
  readonly module: QModule
  readonly input_scale: number | undefined
  readonly output_scale: number | undefined
}

/** Whether a tensor is called as such a scale is. */
export function isActivationScale(tensor: string): boolean {
  return activationScales.some((name) => tensor.endsWith(`.${name}`))
}

/**
 * Reads the scales of quantized activations, `X.input_scale` and `X.output_scale`, of all modules of a model
 * that have them; a module at several paths has them under one of these.
 * @param strict whether all must be there; else those that are missing are undefined
 * @throws FormatError if one is missing, is no single float, or is not a positive number
 */
export async function readScales(file: TensorFile, model: Module, strict = true): Promise<SavedScales[]> {
  const reads: Promise<SavedScales>[] = []
  for (const [module, paths] of model.modulePaths()) {
    if (!(module instanceof QModule) || !module.activations) continue
    const read = async (name: string) => {
      const names = paths.map((path) => joinPath(path, name))
      const found = names.find((each) => file.tensors.has(each))
      const needed = strict && scalesInUse(module).includes(name)
      return found || needed ? readScale(file, found ?? names[0]) : undefined
    }
    const both = Promise.all(activationScales.map(read))
    reads.push(
      both.then(([input_scale, output_scale]) => ({ path: paths[0], module, input_scale, output_scale })),
    )
  }
  return Promise.all(reads)
}

/**
 * Puts the scales of quantized activations into a model's modules.
 * @param strict as that of `readScales`; scales that are missing stay as they are
 * @throws FormatError as `readScales`; the model's are then as before
 */
export async function readActivationScales(
  device: Device,
  file: TensorFile,
  model: Module,
  strict = true,
): Promise<void> {
  for (const { module, ...scales } of await readScales(file, model, strict)) {
    for (const name of activationScales) {
      const value = scales[name]
      if (value === undefined) continue
      module[name]?.dispose()
      module[name] = value === 1 ? null : keep(Tensor.fromNumbers(device, [value], []))
    }
  }
}

async function readScale(file: TensorFile, name: string): Promise<number> {
  const { dtype, shape, byteOffset } = tensorInfo(file, name)
  const wrong = (what: string) =>
    new FormatError(`${file.name}: ${name} must be ${what}`, { tensor: name, byteOffset })
  if (!isFloatDType(dtype) || shape.some((size) => size !== 1))
    throw wrong(`one float; it is ${dtype} [${shape}]`)
  const [value] = toNumbers(dtype, viewAs(dtype, await file.read(name)))
  if (!(value >= 0 && value < Infinity)) throw wrong(`a positive number; it is ${value}`)
  return value
}
