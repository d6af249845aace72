import { saveFolder } from '#files'
import { isSavedFile } from '../checkpoints/checkpoint.ts'
import type { LoadPlan, PlannedParameter } from '../checkpoints/plan.ts'
import { refuseLayers } from '../checkpoints/save.ts'
import {
  type KnownKinds,
  layersToWrite,
  type SavedPart,
  writtenTensors,
} from '../checkpoints/savedTensors.ts'
import { type Places, placeParts, writePart, writeTensor } from '../checkpoints/writeParts.ts'
import { type FloatDType, isFloatDType } from '../core/dtype.ts'
import type { Device } from '../devices/device.ts'
import type { ModelWriter } from '../formats/modelWriter.ts'
import { placeCheckpoint } from '../formats/safetensorsWriter.ts'
import { configFields, type SchemeSettings } from '../formats/schemes/scheme.ts'
import type { WritingScheme } from '../formats/schemes/targets.ts'
import { type FolderSink, writeText } from '../formats/source.ts'
import { type Parameter, parentPath } from '../nn/module.ts'
import { QModule, QWeightModule } from '../nn/qmodule.ts'
import { freezeTwins } from '../quantize/quantize.ts'
import { keep } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import type { CausalLM } from './causalLM.ts'
import { inOrder, loadParameter } from './load.ts'

/** How a model goes from files to files. */
export interface RewriteOptions {
  device: Device
  /** What floats become; default: as saved. */
  dtype?: FloatDType
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

/** What is to be written: the plan's model with twins and weights that stand for those to come. */
export interface Rewriting {
  readonly plan: LoadPlan<CausalLM>
  /** How quantized weights are written; null where there are none. */
  readonly scheme: WritingScheme | null
  /** What schemes ask of the weights to come. */
  readonly kinds: KnownKinds
  /** Those whose codes go over as they are; the others are read as floats. */
  readonly kept: ReadonlySet<PlannedParameter>
  /** Where the tensors go; default: safetensors, in a folder. */
  readonly container?: ModelWriter
}

/** Gives the parameters, which have no values, the dtypes that they will have. @returns their bytes */
export function placeFloats(
  { model, parameters }: LoadPlan<CausalLM>,
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
 * Reads a model and writes it, tensor by tensor, in memory for a few of them. The plan's model is left
 * without values.
 * @returns the bytes written
 * @throws FormatError as `loadCausalLM` and `save`
 */
export async function rewriteFiles(
  { plan, scheme, kinds, kept, container }: Rewriting,
  target: string | FolderSink,
  options: RewriteOptions,
): Promise<number> {
  const { model, parameters } = plan
  const { device, dtype, signal } = options
  const layers = await layersToWrite(model, kinds)
  const quantized = scheme !== null && layers.quantized.size > 0
  if (quantized) refuseLayers(scheme, [...layers.quantized.values()])
  const parts = [...writtenTensors(model, scheme?.writer ?? null, layers)]
  if (quantized) for (const message of scheme.writer.limits(layers.quantized)) options.onWarning(message)
  if (!container) for (const message of model.saveLimits) options.onWarning(message)
  const settings = quantized ? scheme.writer.settings(layers.quantized, layers.floats) : {}
  if ([...layers.quantized.values()].some(({ activations }) => activations)) await plan.finish(device)
  const write = async (folder: FolderSink) => {
    const metadata = { format: 'pt', ...settings.texts }
    const writer: ModelWriter = container ?? {
      place: (to, heads) => placeCheckpoint(to, heads, { metadata }),
    }
    const writing = { ...(await placeParts(folder, parts, writer)), parts, onWeight: options.onWeight }
    const through = async (planned: PlannedParameter) => {
      signal?.throwIfAborted()
      if (await passRows(model, planned, options, writing)) return null
      const parameter =
        (kept.has(planned) && (await planned.loadAs('words', device))) ||
        (await loadParameter(plan, planned, device, dtype, true))
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
    const bytes = await writing.placed.close()
    return container ? bytes : bytes + (await writeSideFiles(folder, model, settings))
  }
  if (typeof target !== 'string') return write(target)
  const overwrite = options.overwrite ? isSavedFile : undefined
  return saveFolder(target, write, { overwrite, signal, file: container?.file })
}

async function writeSideFiles(
  folder: FolderSink,
  model: CausalLM,
  settings: SchemeSettings,
): Promise<number> {
  let bytes = 0
  for (const [name, text] of [...model.savedFiles(configFields(settings)), ...(settings.files ?? [])]) {
    await writeText(folder, name, text)
    bytes += new TextEncoder().encode(text).byteLength
  }
  return bytes
}

interface Writing extends Places {
  readonly parts: readonly SavedPart[]
  readonly onWeight: RewriteOptions['onWeight']
}

/** Whether a parameter is the weight of a quantized layer, whose parts are written with it. */
function isCoded(model: CausalLM, path: string): boolean {
  return path.endsWith('.weight') && model.getModule(parentPath(path)) instanceof QModule
}

/** Writes a float that is of no quantized layer, some rows at a time. @returns whether it is such */
async function passRows(
  model: CausalLM,
  planned: PlannedParameter,
  { device, dtype, rowsBytes = 2 ** 24 }: RewriteOptions,
  { parts, placed, change }: Writing,
): Promise<boolean> {
  const { paths, shape, byteLength } = planned
  if (!planned.loadRows || paths.some((path) => isCoded(model, path))) return false
  const sources = new Set<Parameter | null>(paths.map((path) => model.getParameter(path)))
  const targets = parts.filter(({ source }) => sources.has(source))
  if (targets.some((part) => change(part) !== null)) return false
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
  writing: Writing,
): Promise<void> {
  const before = paths.map((path) => model.getParameter(path))
  const twins = new Map<string, QWeightModule>()
  for (const path of paths) {
    const module = model.getModule(parentPath(path))
    model.setParameter(path, parameter)
    if (module instanceof QWeightModule && path.endsWith('.weight')) twins.set(parentPath(path), module)
  }
  const layers = new Set(paths.filter((path) => isCoded(model, path)).map(parentPath))
  const made = new Set<Parameter>([parameter])
  try {
    if (parameter instanceof Tensor) {
      freezeTwins([...twins.values()])
      for (const { weight } of twins.values()) made.add(weight)
      for (const [path, twin] of twins) await writing.onWeight?.(path, twin, parameter)
    }
    const sources = new Set<Parameter | null>(before)
    for (const part of writing.parts) {
      const ofLayer = part.source === null && layers.has(part.modulePath)
      if (ofLayer || (part.source && sources.has(part.source))) await writePart(part, writing)
    }
  } finally {
    for (const [i, path] of paths.entries()) model.setParameter(path, before[i])
    for (const each of made) each.dispose()
  }
}

/** What is above goes back to the system at once. */
const largeBytes = 64 * 2 ** 20
