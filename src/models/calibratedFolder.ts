import { localFolder, saveFolder } from '#files'
import type { DType } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import { isObject } from '../core/kinds.ts'
import { asQType, type QType } from '../core/qtype.ts'
import type { Device } from '../devices/device.ts'
import { readJson } from '../formats/json.ts'
import { openSafetensors, type SafetensorsFile } from '../formats/safetensors.ts'
import { writeSafetensors } from '../formats/safetensorsWriter.ts'
import { type Folder, type FolderSink, writeText } from '../formats/source.ts'
import { type TensorToWrite, tensorInfo } from '../formats/tensorFile.ts'
import type { Parameter } from '../nn/module.ts'
import type { WeightParts } from '../qtensor/parts.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import type { FinishedStage, FinishedStages } from '../quantize/calibrated/finishedStages.ts'
import type { CalibratedReport } from '../quantize/calibrated/solveStage.ts'
import { keep, scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import type { RunDigests } from './runDigests.ts'

/*
 * The stages of a calibrated run that are finished, in a folder: a safetensors file for each, which is there
 * only once it is whole. Its tensors are those that the stage changed; the metadata say what of a quantized
 * weight each of them is, what became of each layer, and of which run all this is.
 */

const format = 'lowbit.calibrated'

const runName = 'run.json'

/**
 * The finished stages of a folder, which may be still to be made.
 * @throws FormatError if they are of another run, or the folder cannot be read or written
 */
export async function calibratedFolder(
  path: string,
  device: Device,
  digests: RunDigests,
): Promise<FinishedStages> {
  const folder = localFolder(path)
  if (await folder.has(runName)) await checkRun(folder, digests)
  else
    await saveFile(path, runName, (sink) => writeText(sink, runName, JSON.stringify({ format, ...digests })))
  const nameOf = (stage: number) => `stage-${String(stage).padStart(4, '0')}.safetensors`
  return {
    async load(stage) {
      if (!(await folder.has(nameOf(stage)))) return null
      const file = await openSafetensors(await folder.open(nameOf(stage)))
      return readStage(file, device).finally(() => file.close())
    },
    save: (stage, finished) =>
      saveFile(path, nameOf(stage), (sink) => writeStage(sink, nameOf(stage), finished)),
  }
}

/** Writes a file that is there only once it is whole. */
async function saveFile(
  path: string,
  name: string,
  write: (folder: FolderSink) => Promise<void>,
): Promise<void> {
  await saveFolder(`${path}/${name}`, write, { file: name })
}

async function checkRun(folder: Folder, digests: RunDigests): Promise<void> {
  const known = await readJson(folder, runName)
  if (known.string('format') !== format)
    throw new FormatError(`${folder.name}: must be a folder of a calibrated run; it is another`)
  const others = (Object.keys(digests) as (keyof RunDigests)[]).filter(
    (what) => known.string(what) !== digests[what],
  )
  if (others.length > 0)
    throw new FormatError(
      `${folder.name}: a run goes on with the same model, data and options; it was begun with ${others.map((what) => `other ${what}`).join(' and ')}`,
    )
}

/** What is written of a stage beside its tensors. */
interface StageFacts {
  reports: readonly CalibratedReport[]
  /** The quantized weights, by path: their parts, with the name of a tensor of the file in each one's place. */
  weights: Record<string, unknown>
}

async function writeStage(
  folder: FolderSink,
  name: string,
  { tensors, reports }: FinishedStage,
): Promise<void> {
  const written: TensorToWrite[] = []
  const made: Tensor[] = []
  const add = (name: string, tensor: Tensor) => {
    const { dtype, shape } = tensor
    written.push({ name, dtype, shape, bytes: () => tensor.readBytes() })
    return { tensor: name }
  }
  const facts: StageFacts = { reports, weights: {} }
  try {
    for (const [path, tensor] of tensors) {
      if (tensor instanceof Tensor) {
        add(path, tensor)
        continue
      }
      const parts = keep(scope(() => tensor.parts()))
      facts.weights[path] = described(parts, (name, part) => {
        made.push(part)
        return add(`${path}.${name}`, part)
      })
    }
    const sink = await folder.create(name)
    const metadata = { format, stage: JSON.stringify(facts) }
    await writeSafetensors(sink, written, metadata).finally(() => sink.close())
  } finally {
    for (const tensor of made) tensor.dispose()
  }
}

async function readStage(file: SafetensorsFile, device: Device): Promise<FinishedStage> {
  const { reports, weights } = JSON.parse(file.texts.get('stage') ?? '{}') as StageFacts
  const read = async (name: string) => {
    const { dtype, shape } = tensorInfo(file, name)
    return keep(Tensor.fromBytes(device, await file.read(name), shape, dtype as DType))
  }
  const tensors = new Map<string, Parameter>()
  for (const [path, facts] of Object.entries(weights)) {
    const parts: Tensor[] = []
    const made = await revived(facts, async (name) => {
      const tensor = await read(name)
      parts.push(tensor)
      return tensor
    })
    tensors.set(path, QTensor.fromParts(made as WeightParts).keep())
    for (const tensor of parts) tensor.dispose()
  }
  for (const name of file.tensors.keys())
    if (![...Object.keys(weights)].some((path) => name.startsWith(`${path}.`)))
      tensors.set(name, await read(name))
  return { tensors, reports }
}

/** The parts of a weight as JSON has them: a type is its name, and a tensor what `put` gives for it. */
function described(parts: object, put: (name: string, tensor: Tensor) => unknown, prefix = ''): unknown {
  const entries = Object.entries(parts).map(([key, value]) => {
    const name = `${prefix}${key}`
    if (value instanceof Tensor) return [key, put(name, value)]
    if (key === 'type') return [key, (value as QType).name]
    return [key, isObject(value) ? described(value, put, `${name}.`) : value]
  })
  return Object.fromEntries(entries)
}

/** The inverse. */
async function revived(facts: unknown, tensor: (name: string) => Promise<Tensor>): Promise<unknown> {
  if (!isObject(facts)) return facts
  if (typeof facts.tensor === 'string') return tensor(facts.tensor)
  const parts: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(facts))
    parts[key] = key === 'type' ? asQType(value as string) : await revived(value, tensor)
  return parts
}
