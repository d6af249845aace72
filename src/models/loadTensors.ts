import { type FloatDType, isFloatDType } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import { sameShape, showShape } from '../core/shape.ts'
import type { Device } from '../devices/device.ts'
import { findQuantoTensors } from '../formats/quanto.ts'
import type { TensorFile, TensorInfo } from '../formats/tensorFile.ts'
import { joinPath, type Module, type Parameter } from '../nn/module.ts'
import { activationScales, QModule, QWeightModule } from '../nn/qmodule.ts'
import { Tensor } from '../tensor/tensor.ts'
import { readActivationScales } from './activationScales.ts'
import { readFloat, readQuanto } from './loadTensor.ts'
import type { LoadedState, LoadStateOptions } from './stateDict.ts'

/** A path at which a tensor of the model stands. */
interface Place {
  module: Module
  modulePath: string
  /** The tensor's own path. */
  path: string
}

/** How the tensor at some places comes from the file. */
interface Source {
  places: Place[]
  read(): Promise<Parameter>
}

/** Reads every tensor of a model from a file. @throws FormatError as `loadStateDict` */
export async function loadTensors(
  model: Module,
  file: TensorFile,
  device: Device,
  { strict = true, dtype }: Pick<LoadStateOptions, 'strict' | 'dtype'> = {},
): Promise<LoadedState> {
  const match = new Match(file, device, { strict, dtype })
  for (const [tensor, places] of tensorPlaces(model)) match.add(tensor, places)
  match.addScales(model)
  const { missingKeys, unexpectedKeys, problems, sources } = match
  if (strict) problems.push(...unexpectedKeys.map((name) => `${name} is not a part of the model`))
  if (strict && unexpectedKeys.some((name) => name.endsWith('.weight._scale')))
    problems.push('quantized layers must be in the map that requantize takes')
  if (problems.length > 0)
    throw new FormatError(`${file.name}: the tensors must be those of the model; ${problems.join('; ')}`)
  const loaded = new Map<Source, Parameter>()
  try {
    for (const source of sources) loaded.set(source, await source.read())
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

/** Every tensor of a model but the scales of activations, with all places at which it stands. */
function tensorPlaces(model: Module): Map<Parameter, Place[]> {
  const places = new Map<Parameter, Place[]>()
  for (const [modulePath, module] of model.namedModules({ removeDuplicate: false })) {
    const scales: readonly string[] = module instanceof QModule ? activationScales : []
    for (const [name, tensor] of module.ownTensors()) {
      if (scales.includes(name)) continue
      places.set(tensor, [
        ...(places.get(tensor) ?? []),
        { module, modulePath, path: joinPath(modulePath, name) },
      ])
    }
  }
  return places
}

/** Finds the tensors of a model in a file, and notes what does not fit. */
class Match {
  private readonly file: TensorFile
  private readonly device: Device
  private readonly strict: boolean
  /** What float tensors become; undefined: as saved. */
  private readonly dtype: FloatDType | undefined
  private readonly used = new Set<string>()
  readonly missingKeys: string[] = []
  /** What does not fit, a sentence each. */
  readonly problems: string[] = []
  readonly sources: Source[] = []

  constructor(file: TensorFile, device: Device, { strict, dtype }: { strict: boolean; dtype?: FloatDType }) {
    this.file = file
    this.device = device
    this.strict = strict
    this.dtype = dtype
  }

  private missing(name: string): void {
    this.missingKeys.push(name)
    if (this.strict) this.problems.push(`${name} is missing`)
  }

  /**
   * One tensor of the model: it stays tied. Where a twin has codes of its own in the file it takes those, and
   * what is not there under its own path comes from another.
   */
  add(tensor: Parameter, places: readonly Place[]): void {
    const { file } = this
    for (const { path } of places) this.used.add(path)
    const named = places.filter(({ path }) => file.tensors.has(path))
    const coded = places.filter((place) => !named.includes(place) && isCoded(file, place))
    const sources = new Map<Place, Source>()
    const sourceAt = (place: Place) => {
      const source = sources.get(place) ?? this.source(tensor, place, named.includes(place))
      sources.set(place, source)
      return source
    }
    // All are checked, though one of each kind is read.
    for (const place of [...named, ...coded]) this.check(tensor, place, named.includes(place))
    for (const place of places) {
      const like = isTwinWeight(place) ? coded.find((other) => quantizedLike(other, place)) : undefined
      const from = coded.includes(place) ? (like ?? place) : (named[0] ?? like)
      if (from) sourceAt(from).places.push(place)
      else if (isCounter(tensor, place))
        sources.set(place, { places: [place], read: async () => zeroCount(this.device) })
      else this.missing(place.path)
    }
    this.sources.push(...sources.values())
  }

  private check(tensor: Parameter, place: Place, isNamed: boolean): void {
    const { file, problems } = this
    const info = file.tensors.get(place.path)
    if (isNamed && info) {
      const whole = !isFloatDType(tensor.dtype)
      if (whole ? info.dtype !== tensor.dtype : !isFloatDType(info.dtype)) {
        problems.push(
          `${place.path} must be ${whole ? tensor.dtype : 'float32, float16 or bfloat16'}; it is ${info.dtype}`,
        )
      } else if (!sameShape(info.shape, tensor.shape))
        problems.push(`${place.path} must be ${showShape(tensor.shape)}; it is ${showShape(info.shape)}`)
      return
    }
    try {
      const parts = findQuantoTensors(file, place.modulePath, weightOf(tensor, place))
      for (const part of Object.values(parts)) if (part) this.used.add(part.name)
    } catch (error) {
      if (!(error instanceof FormatError)) throw error
      problems.push(error.message.slice(file.name.length + 2))
      // Said once.
      for (const part of ['_data', '_data._data', '_scale', '_shift']) this.used.add(`${place.path}.${part}`)
    }
  }

  private source(tensor: Parameter, place: Place, isNamed: boolean): Source {
    const { file, device } = this
    const info = file.tensors.get(place.path)
    const read = async () => {
      if (!isNamed)
        return readQuanto(
          device,
          file,
          findQuantoTensors(file, place.modulePath, weightOf(tensor, place)),
          weightOf(tensor, place),
        )
      if (!isFloatDType(tensor.dtype)) return readWhole(device, file, info as TensorInfo)
      // Statistics are computed in place, in float32.
      return readFloat(device, file, info as TensorInfo, isBuffer(place) ? 'float32' : this.dtype)
    }
    return { places: [], read }
  }

  /** The scales of quantized activations, which are read apart. */
  addScales(model: Module): void {
    for (const [module, paths] of model.modulePaths()) {
      if (!(module instanceof QModule)) continue
      for (const name of activationScales) {
        const names = paths.map((path) => joinPath(path, name))
        for (const each of names) this.used.add(each)
        if (module.activations && !names.some((each) => this.file.tensors.has(each))) this.missing(names[0])
      }
    }
  }

  get unexpectedKeys(): string[] {
    return [...this.file.tensors.keys()].filter((name) => !this.used.has(name))
  }
}

interface TwinPlace extends Place {
  module: QWeightModule
}

function isTwinWeight(place: Place): place is TwinPlace {
  return place.module instanceof QWeightModule && place.path === joinPath(place.modulePath, 'weight')
}

/** Whether the file has codes and scales for the weight of a twin. */
function isCoded(file: TensorFile, place: Place): boolean {
  return isTwinWeight(place) && file.tensors.has(`${place.path}._scale`)
}

function quantizedLike(a: Place, b: Place): boolean {
  if (!isTwinWeight(a) || !isTwinWeight(b)) return false
  const [p, q] = [a.module.quantization, b.module.quantization]
  return p.qtype === q.qtype && p.groupSize === q.groupSize
}

/** Files of older versions of PyTorch have no counts of batches. */
function isCounter(tensor: Parameter, { path }: Place): boolean {
  return tensor.dtype === 'int64' && /(^|\.)num_batches_tracked$/.test(path)
}

function zeroCount(device: Device): Tensor {
  return Tensor.fromArray(device, new BigInt64Array(1), [])
}

/**
 * The weight of a twin as its parts are looked for; the bias is a parameter of its own, and scales of
 * activations are read apart.
 */
function weightOf({ shape }: Parameter, { module }: Place) {
  const { qtype, groupSize } = (module as QWeightModule).quantization
  return { qtype, shape, bias: false, activationScales: false, groupSize }
}

function isBuffer({ module, modulePath, path }: Place): boolean {
  return ![...module.ownParameters()].some(([name]) => joinPath(modulePath, name) === path)
}

/** A tensor of whole numbers. */
async function readWhole(
  device: Device,
  file: TensorFile,
  { name, shape, dtype }: TensorInfo,
): Promise<Tensor> {
  return Tensor.fromBytes(device, await file.read(name), shape, dtype)
}
