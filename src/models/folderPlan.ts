import { type FloatDType, isFloatDType } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import { numel, sameShape, showShape } from '../core/shape.ts'
import type { Device } from '../devices/device.ts'
import { openCheckpoint } from '../formats/checkpoint.ts'
import { type JsonObject, readJson, show, showName } from '../formats/json.ts'
import { findQuantoTensors, type QuantoMap, readQuantoMap } from '../formats/quanto.ts'
import type { Folder } from '../formats/source.ts'
import type { TensorFile } from '../formats/tensorFile.ts'
import { Module } from '../nn/module.ts'
import { QWeightModule } from '../nn/qmodule.ts'
import { Uncalibrated } from '../nn/uncalibrated.ts'
import { matrixShape } from '../qtensor/parts.ts'
import { quantizedTwin } from '../quantize/requantize.ts'
import { readActivationScales, readScales } from './activationScales.ts'
import type { CausalLM } from './causalLM.ts'
import { emptyModel } from './families/index.ts'
import { readFloat, readQuanto } from './loadTensor.ts'
import { dropAbsentBiases, type LoadPlan, type PlannedParameter, parameterPaths, parentOf } from './plan.ts'
import { readSideFiles } from './sideFiles.ts'

/**
 * A folder in Hugging Face layout, float or saved by quanto: everything but the weights is read.
 * @throws FormatError if a file is missing, broken, or does not fit the others
 */
export async function planFolder(folder: Folder): Promise<LoadPlan> {
  const config = await readJson(folder, 'config.json')
  const warnings: string[] = []
  const warn = (message: string) => void warnings.push(message)
  const model = emptyModel(config, warn)
  checkMethod(config)
  const file = await openCheckpoint(folder)
  try {
    const map = await readQuantoMap(folder)
    if (map) applyMap(model, map, folder)
    else checkFloat(folder, file)
    dropAbsentBiases(
      model,
      (path) => model.checkpointNames(path).some((name) => hasTensor(file, name)),
      file.name,
      warn,
    )
    const parameters = matchTensors(model, file)
    await readSideFiles(folder, model, config, warn)
    const finish = (device: Device) => readActivationScales(device, file, model)
    const scales = () => readScales(file, model)
    const scheme = map ? 'quanto' : 'none'
    return {
      name: folder.name,
      model,
      scheme,
      parameters,
      warnings,
      scales,
      finish,
      close: () => file.close(),
    }
  } catch (error) {
    await file.close()
    throw error
  }
}

/** @throws FormatError if the weights are quantized by a method that is not known */
function checkMethod(config: JsonObject): void {
  if (!config.has('quantization_config')) return
  const method = config.object('quantization_config').string('quant_method', 'unnamed')
  throw new FormatError(
    `${config.name}: the weights must be floats, or quantized by quanto; they are quantized by ${show(method)}, so take the float model`,
  )
}

/** Replaces the modules that the map names by their quantized twins. */
function applyMap(model: CausalLM, map: QuantoMap, folder: Folder): void {
  const uncalibrated = new Uncalibrated()
  for (const [path, { weights, activations, outputQuantized }] of map) {
    if (!weights && !activations) continue
    let module: unknown
    try {
      module = model.getModule(path)
    } catch (cause) {
      throw new FormatError(
        `${folder.name}: the quantization map names ${path}, which the architecture does not have`,
        { cause },
      )
    }
    const twin =
      module instanceof Module && quantizedTwin(module, weights, { qtype: activations ?? null, uncalibrated })
    if (!twin)
      throw new FormatError(
        `${folder.name}: the quantization map names ${path}, which is not a layer that can be quantized so`,
      )
    twin.outputQuantized = outputQuantized ?? true
    uncalibrated.add(path, twin)
    model.setModule(path, twin)
  }
}

/** @throws FormatError if the file holds what quanto quantized: without the map nobody knows how. */
function checkFloat(folder: Folder, file: TensorFile): void {
  const scale = [...file.tensors.keys()].find((name) => name.endsWith('.weight._scale'))
  if (scale === undefined) return
  throw new FormatError(
    `${folder.name}: must hold quanto_qmap.json, since ${show(scale)} was quantized by quanto; there is no such file`,
  )
}

/** Finds every parameter in the file; what is missing, misshapen or left over is listed in one error. */
function matchTensors(model: CausalLM, file: TensorFile): PlannedParameter[] {
  const planned: PlannedParameter[] = []
  const used = new Set<string>()
  const problems: string[] = []
  for (const [parameter, paths] of parameterPaths(model)) {
    const names = paths.flatMap((path) => model.checkpointNames(path))
    for (const name of names) used.add(name)
    const name = names.find((candidate) => file.tensors.has(candidate))
    const info = name === undefined ? undefined : file.tensors.get(name)
    const module = model.getModule(parentOf(paths[0]))
    if (!info && module instanceof QWeightModule && parameter === module.weight) {
      planned.push(planQuanto(file, parentOf(paths[0]), module, used))
    } else if (!info) problems.push(missing(file, paths[0]))
    else if (!isFloatDType(info.dtype))
      problems.push(`${name} must be float32, float16 or bfloat16, not ${info.dtype}`)
    else if (!sameShape(info.shape, parameter.shape)) {
      problems.push(`${name} must be ${showShape(parameter.shape)}, not ${showShape(info.shape)}`)
    } else {
      const load = (device: Device, dtype?: FloatDType) => readFloat(device, file, info, dtype)
      planned.push({ path: paths[0], shape: info.shape, kind: info.dtype, byteLength: info.byteLength, load })
    }
  }
  for (const name of [...file.tensors.keys(), ...file.unsupported.keys()]) {
    const scale = /\.(input|output)_scale$/.test(name)
    if (
      !used.has(name) &&
      !scale &&
      !model.isKnownExtra(name) &&
      !problems.some((problem) => problem.startsWith(name))
    ) {
      problems.push(`${showName(name)} is not a part of the model`)
    }
  }
  if (problems.length === 0) return planned
  const shown =
    problems.slice(0, 6).join('; ') + (problems.length > 6 ? `; and ${problems.length - 6} more` : '')
  throw new FormatError(`${file.name}: the tensors must be those that config.json describes; ${shown}`)
}

/** The frozen weight of a quantized module. */
function planQuanto(
  file: TensorFile,
  path: string,
  module: QWeightModule,
  used: Set<string>,
): PlannedParameter {
  const { qtype, groupSize } = module.quantization
  const { shape } = module.weight
  const [N, K] = matrixShape(shape)
  const parts = findQuantoTensors(file, path, { qtype, shape, bias: module.bias !== null })
  for (const part of Object.values(parts)) if (part) used.add(part.name)
  const columns = numel(parts.scale.shape) > (N * K) / (groupSize ?? K)
  const size = columns ? 1 : (groupSize ?? K)
  return {
    path: `${path}.weight`,
    shape,
    kind: groupSize === null ? qtype.name : `${qtype.name}, groups of ${groupSize}`,
    weight: { qtype, shape, block: { kind: 'group', size }, offset: parts.shift ? 'shift' : null },
    byteLength: parts.data.byteLength + parts.scale.byteLength + (parts.shift?.byteLength ?? 0),
    load: (device) => readQuanto(device, file, parts, { qtype, shape, groupSize }),
  }
}

function hasTensor(file: TensorFile, name: string): boolean {
  return file.tensors.has(name) || file.unsupported.has(name)
}

function missing(file: TensorFile, name: string): string {
  const dtype = file.unsupported.get(name)
  return dtype === undefined ? `${name} is missing` : `${name} has dtype ${dtype}, which is not supported`
}
