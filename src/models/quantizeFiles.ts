import { saveFolder } from '#files'
import { isSavedFile } from '../checkpoints/checkpoint.ts'
import type { LoadPlan, PlannedParameter } from '../checkpoints/plan.ts'
import { schemeToWrite } from '../checkpoints/save.ts'
import {
  type KnownKinds,
  layersToWrite,
  type SavedPart,
  writtenTensors,
} from '../checkpoints/savedTensors.ts'
import { type FloatDType, isFloatDType } from '../core/dtype.ts'
import { asQType } from '../core/qtype.ts'
import type { Device } from '../devices/device.ts'
import type { PlacedTensors } from '../formats/modelWriter.ts'
import { placeCheckpoint } from '../formats/safetensorsWriter.ts'
import type { WeightKind } from '../formats/schemes/scheme.ts'
import { type FolderSink, writeText } from '../formats/source.ts'
import { type Parameter, parentPath } from '../nn/module.ts'
import { QWeightModule } from '../nn/qmodule.ts'
import type { QTensor } from '../qtensor/qtensor.ts'
import { dequantize } from '../quantize/dequantize.ts'
import { freezeTwins, type QuantizeOptions, quantize } from '../quantize/quantize.ts'
import { keep } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import type { CausalLM } from './causalLM.ts'
import { emptyKind, emptyWeight } from './emptyWeight.ts'
import { inOrder, loadParameter } from './load.ts'

/** How a model goes from files to files. */
export interface QuantizeFilesOptions {
  device: Device
  /** What floats become; default: as saved. */
  dtype?: FloatDType
  quantization: QuantizeOptions
  /** The scheme of quantized layers; default: the first that holds their types. */
  format?: string
  overwrite?: boolean
  /** Bytes of the rows of a float that are on the device at a time; default 16 MB. */
  rowsBytes?: number
  signal?: AbortSignal
  /** Is told what is not sound and not needed, and what other readers cannot load. */
  onWarning(message: string): void
  /** Called with the bytes read so far, and all. */
  onProgress?(bytes: number, totalBytes: number): void
  /** Told of each layer that is frozen while its floats, as the float layer has them, are still there. */
  onWeight?(path: string, layer: QWeightModule, float: Tensor): Promise<void>
}

/** What was written. */
export interface QuantizedFiles {
  bytes: number
  /** The scheme of the quantized layers. */
  format: string
  /** Of all parameters before. */
  floatBytes: number
}

/**
 * Whether a model can be quantized from files to files: what its codes look like is then known before they are
 * there.
 */
export function streams(
  { scheme }: LoadPlan,
  floats: boolean,
  { weights, algorithm }: QuantizeOptions,
): boolean {
  const { values } = asQType(weights)
  return (scheme === 'none' || floats) && values !== 'codebook' && typeof algorithm !== 'object'
}

/**
 * Reads a model, quantizes it and writes it, tensor by tensor: the same files as load, `quantize`, `freeze` and
 * `save`, in memory for one tensor. The plan's model is left without values.
 * @param floats whether quantized weights are made floats first
 * @throws FormatError as `loadCausalLM` and `save`
 */
export async function quantizeFiles(
  plan: LoadPlan<CausalLM>,
  target: string,
  floats: boolean,
  options: QuantizeFilesOptions,
): Promise<QuantizedFiles> {
  const { model, parameters } = plan
  const { device, dtype, signal, onWarning } = options
  for (const message of plan.warnings) onWarning(message)
  if (floats) dequantize(model)
  const floatBytes = placeFloats(model, parameters, dtype)
  quantize(model, options.quantization)
  const layers = await layersToWrite(model, placeCodes(model))
  const { name: format, writer } = schemeToWrite(options.format, layers)
  const parts = [...writtenTensors(model, writer, layers)]
  for (const message of writer.limits(layers.quantized)) onWarning(message)
  const { files, quantizationConfig } = writer.settings(layers.quantized, layers.floats)
  const write = async (folder: FolderSink) => {
    const placed = await placeCheckpoint(folder, parts)
    const writing = { parts, placed, onWeight: options.onWeight }
    const through = async (planned: PlannedParameter) => {
      signal?.throwIfAborted()
      if (await passRows(model, planned, options, writing)) return null
      const parameter = await loadParameter(plan, planned, device, dtype, floats)
      await writeParameter(model, planned.paths, parameter, writing)
      // Blocks of an embedding serve no layer.
      if (planned.byteLength > largeBytes) device.trim()
      return null
    }
    const total = parameters.reduce((sum, { byteLength }) => sum + byteLength, 0)
    let done = 0
    for await (const [{ byteLength }] of inOrder(parameters, through, 3)) {
      done += byteLength
      options.onProgress?.(done, total)
    }
    let bytes = await placed.close()
    for (const [name, text] of [...model.savedFiles(quantizationConfig), ...(files ?? [])]) {
      await writeText(folder, name, text)
      bytes += new TextEncoder().encode(text).byteLength
    }
    return bytes
  }
  const overwrite = options.overwrite ? isSavedFile : undefined
  return { bytes: await saveFolder(target, write, { overwrite, signal }), format, floatBytes }
}

/** Gives the parameters, which have no values, the dtypes that they will have. @returns their bytes */
function placeFloats(
  model: CausalLM,
  parameters: readonly PlannedParameter[],
  dtype: FloatDType | undefined,
): number {
  let bytes = 0
  for (const { paths, dtype: saved } of parameters) {
    const [first] = paths
    const held = isFloatDType(saved) ? (dtype ?? saved) : saved
    const place = keep(Tensor.meta(model.getParameter(first).shape, held))
    for (const path of paths) model.setParameter(path, place)
    bytes += place.byteLength
  }
  return bytes
}

/**
 * Stands quantized weights without values in for those of the twins: alike ones of a tied weight share one.
 * @returns what schemes ask of them
 */
function placeCodes(model: CausalLM): KnownKinds {
  const places = new Map<Parameter, [QWeightModule, QTensor][]>()
  const kinds = new Map<Parameter, WeightKind>()
  for (const [, twin] of model.namedModules()) {
    if (!(twin instanceof QWeightModule)) continue
    const { weight, quantization } = twin
    const known = places.get(weight) ?? []
    const like = known.find(([{ quantization: other }]) => {
      return other.qtype === quantization.qtype && other.groupSize === quantization.groupSize
    })
    const place = like?.[1] ?? emptyWeight(twin, weight.dtype as FloatDType)
    places.set(weight, [...known, [twin, place]])
    kinds.set(place, emptyKind(twin, place))
    twin.weight = place
  }
  return kinds
}

interface Writing {
  readonly parts: readonly SavedPart[]
  readonly placed: PlacedTensors
  readonly onWeight: QuantizeFilesOptions['onWeight']
}

/** Whether a parameter becomes the codes of a layer. */
function isCoded(model: CausalLM, path: string): boolean {
  return path.endsWith('.weight') && model.getModule(parentPath(path)) instanceof QWeightModule
}

/** Writes a float of which no codes are made, some rows at a time. @returns whether it is such */
async function passRows(
  model: CausalLM,
  planned: PlannedParameter,
  { device, dtype, rowsBytes = 2 ** 24 }: QuantizeFilesOptions,
  { parts, placed }: Writing,
): Promise<boolean> {
  const { paths, shape, byteLength } = planned
  if (!planned.loadRows || paths.some((path) => isCoded(model, path))) return false
  const sources = new Set<Parameter | null>(paths.map((path) => model.getParameter(path)))
  const targets = parts.filter(({ source }) => sources.has(source))
  const [rows] = shape
  const step = Math.max(1, Math.floor((rowsBytes * rows) / byteLength))
  for (let start = 0; start < rows; start += step) {
    const tensor = await planned.loadRows([start, Math.min(rows, start + step)], device, dtype)
    const before = (start * tensor.byteLength) / tensor.shape[0]
    try {
      for (const { name } of targets) await writeTensor(name, before, tensor, placed)
    } finally {
      tensor.dispose()
    }
  }
  return true
}

/** Puts a parameter in its places, writes what is made of it, and takes it away again. */
async function writeParameter(
  model: CausalLM,
  paths: readonly string[],
  parameter: Parameter,
  { parts, placed, onWeight }: Writing,
): Promise<void> {
  const before = paths.map((path) => model.getParameter(path))
  const twins = new Map<string, QWeightModule>()
  for (const path of paths) {
    const module = model.getModule(parentPath(path))
    model.setParameter(path, parameter)
    if (module instanceof QWeightModule && parameter instanceof Tensor && path.endsWith('.weight'))
      twins.set(parentPath(path), module)
  }
  const made = new Set<Parameter>([parameter])
  try {
    freezeTwins([...twins.values()])
    for (const { weight } of twins.values()) made.add(weight)
    for (const [path, twin] of twins) await onWeight?.(path, twin, parameter as Tensor)
    const sources = new Set<Parameter | null>(before)
    for (const part of parts) {
      const ofLayer = part.source === null && twins.has(part.modulePath)
      if (ofLayer || (part.source && sources.has(part.source))) await writePart(part, placed)
    }
  } finally {
    for (const [i, path] of paths.entries()) model.setParameter(path, before[i])
    for (const each of made) each.dispose()
  }
}

/** What is above goes back to the system at once. */
const largeBytes = 64 * 2 ** 20

/** Bytes that are read from the device at a time. */
const pieceBytes = 2 ** 21

function writePart(part: SavedPart, placed: PlacedTensors): Promise<void> {
  return part.use((values) => writeTensor(part.name, 0, values, placed))
}

/** Puts values where a tensor's bytes stand in the files, from byte `first` of it on. */
async function writeTensor(
  name: string,
  first: number,
  { device, storage, byteOffset, byteLength }: Tensor,
  placed: PlacedTensors,
): Promise<void> {
  const buffer = new Uint8Array(Math.min(pieceBytes, byteLength))
  for (let start = 0; start < byteLength; start += pieceBytes) {
    const length = Math.min(pieceBytes, byteLength - start)
    const region = { storage, byteOffset: byteOffset + start }
    await placed.put(name, first + start, await device.read(region, length, buffer))
  }
}
