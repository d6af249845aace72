import { isFloatDType, viewAs } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import { toNumbers } from '../core/halves.ts'
import type { Device } from '../devices/device.ts'
import { type TensorFile, tensorInfo } from '../formats/tensorFile.ts'
import { joinPath, type Module } from '../nn/module.ts'
import { activationScales, QModule } from '../nn/qmodule.ts'
import { keep } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'

/**
 * Reads the scales of quantized activations, `X.input_scale` and `X.output_scale`, into a model's modules. A scale of 1 is quanto's sign that
 * there is none. A module at several paths has them under one of these.
 * @param strict whether all must be there; else those that are missing stay as they are
 * @throws FormatError if one is missing, is no single float, or is not a positive number; the model's are then as before
 */
export async function readActivationScales(device: Device, file: TensorFile, model: Module, strict = true): Promise<void> {
  const reads: Promise<{ module: QModule; name: (typeof activationScales)[number]; value: number }>[] = []
  for (const [module, paths] of model.modulePaths()) {
    if (!(module instanceof QModule) || !module.activations) continue
    for (const name of activationScales) {
      const names = paths.map((path) => joinPath(path, name))
      const found = names.find((each) => file.tensors.has(each))
      if (found || strict) reads.push(readScale(file, found ?? names[0]).then((value) => ({ module, name, value })))
    }
  }
  for (const { module, name, value } of await Promise.all(reads)) {
    module[name]?.dispose()
    module[name] = value === 1 ? null : keep(Tensor.fromNumbers(device, [value], []))
  }
}

async function readScale(file: TensorFile, name: string): Promise<number> {
  const { dtype, shape, byteOffset } = tensorInfo(file, name)
  const wrong = (what: string) => new FormatError(`${file.name}: ${name} must be ${what}`, { tensor: name, byteOffset })
  if (!isFloatDType(dtype) || shape.some((size) => size !== 1)) throw wrong(`one float; it is ${dtype} [${shape}]`)
  const [value] = toNumbers(dtype, viewAs(dtype, await file.read(name)))
  if (!(value >= 0 && value < Infinity)) throw wrong(`a positive number; it is ${value}`)
  return value
}
