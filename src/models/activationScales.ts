import { isFloatDType, viewAs } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import { toNumbers } from '../core/halves.ts'
import type { Device } from '../devices/device.ts'
import { type TensorFile, tensorInfo } from '../formats/tensorFile.ts'
import type { Module } from '../nn/module.ts'
import { activationScales, QModule } from '../nn/qmodule.ts'
import { keep } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'

/** The scales of one module's activations in a checkpoint; 1 is quanto's sign that there is none. */
export interface SavedScales {
  readonly path: string
  readonly module: QModule
  readonly input_scale: number
  readonly output_scale: number
}

/**
 * Reads the scales of quantized activations, `X.input_scale` and `X.output_scale`, of all modules of a model that have them.
 * @throws FormatError if one is missing, is no single float, or is not a positive number
 */
export async function readScales(file: TensorFile, model: Module): Promise<SavedScales[]> {
  const modules = [...model.namedModules()].filter((entry): entry is [string, QModule] => entry[1] instanceof QModule)
  const reads = modules
    .filter(([, { activations }]) => activations)
    .map(async ([path, module]) => {
      const [input_scale, output_scale] = await Promise.all(activationScales.map((name) => readScale(file, `${path}.${name}`)))
      return { path, module, input_scale, output_scale }
    })
  return Promise.all(reads)
}

/**
 * Puts the scales of quantized activations into a model's modules.
 * @throws FormatError as `readScales`; the model's are then as before
 */
export async function readActivationScales(device: Device, file: TensorFile, model: Module): Promise<void> {
  for (const { module, ...scales } of await readScales(file, model)) {
    for (const name of activationScales) {
      module[name]?.dispose()
      module[name] = scales[name] === 1 ? null : keep(Tensor.fromNumbers(device, [scales[name]], []))
    }
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
