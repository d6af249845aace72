import { isFloatDType } from '../core/dtype.ts'
import { anyOf } from '../core/lists.ts'
import { sameShape, showShape } from '../core/shape.ts'
import type { Part, QuantizedFile, QuantizedWeight } from '../formats/schemes/scheme.ts'
import type { StoredDType, TensorFile, TensorInfo } from '../formats/tensorFile.ts'
import { joinPath, type Module, type Parameter } from '../nn/module.ts'
import { activationScales, QModule, QWeightModule, scalesInUse } from '../nn/qmodule.ts'
import type { Problem } from './problems.ts'
import { storedLayer } from './twins.ts'

/** A path at which a tensor of the model stands. */
export interface Place {
  readonly module: Module
  readonly modulePath: string
  /** The tensor's own path. */
  readonly path: string
}

/**
 * What a parameter is made of: a tensor as it stands, the parts of a quantized weight, or nothing but zero.
 */
export type Origin =
  | { readonly kind: 'tensor'; readonly info: TensorInfo }
  | { readonly kind: 'quantized'; readonly layer: string; readonly weight: QuantizedWeight }
  | { readonly kind: 'zero' }

/** One tensor of a model, the places at which it stands, and where it comes from. */
export interface Source {
  readonly places: Place[]
  /** Whether its values are whole numbers, as they are stored. */
  readonly whole: boolean
  readonly origin: Origin
}

/** How a model and a file go together. */
export interface Match {
  readonly sources: readonly Source[]
  /** What does not fit, in the order of the model; then what is no part of it. */
  readonly problems: readonly Problem[]
}

/**
 * Finds the tensors of a model in a file: what is tied stays tied. A layer for which the file has codes of
 * its own takes those; what is not there under its own path comes from another of its paths.
 * @param quantized how the file's quantized layers are stored; the model's are twins
 */
export function matchTensors(model: Module, file: TensorFile, quantized: QuantizedFile | null): Match {
  const matcher = new Matcher(file, quantized)
  for (const [tensor, places] of tensorPlaces(model)) matcher.add(tensor, places)
  matcher.addScales(model)
  return matcher.result
}

/** Every tensor of a model but the scales of activations, with all places at which it stands. */
export function tensorPlaces(model: Module): Map<Parameter, Place[]> {
  const places = new Map<Parameter, Place[]>()
  for (const [modulePath, module] of model.namedModules({ removeDuplicate: false })) {
    const scales: readonly string[] = module instanceof QModule ? activationScales : []
    for (const [name, tensor] of module.ownTensors()) {
      if (scales.includes(name)) continue
      const known = places.get(tensor) ?? []
      known.push({ module, modulePath, path: joinPath(modulePath, name) })
      places.set(tensor, known)
    }
  }
  return places
}

class Matcher {
  private readonly file: TensorFile
  private readonly quantized: QuantizedFile | null
  private readonly used = new Set<string>()
  private readonly sources: Source[] = []
  private readonly problems: Problem[] = []

  constructor(file: TensorFile, quantized: QuantizedFile | null) {
    this.file = file
    this.quantized = quantized
  }

  get result(): Match {
    const { file, sources, used, quantized } = this
    const names = [...file.tensors.keys(), ...file.unknown.keys()].filter(
      (name) => !used.has(name) && !quantized?.isUnused?.(name),
    )
    const problems = names.map((name): Problem => {
      const tensor = (file.tensors.get(name) ?? file.unknown.get(name))?.name ?? name
      return { tensor, kind: 'unexpected', problem: 'is not a part of the model' }
    })
    return { sources, problems: [...this.problems, ...problems] }
  }

  /** One tensor of the model. All that the file holds of it is checked, though one of each kind is read. */
  add(tensor: Parameter, places: readonly Place[]): void {
    const { file } = this
    for (const { path } of places) this.used.add(path)
    const weights = new Map<Place, QuantizedWeight>()
    for (const place of places) {
      const weight = this.codesAt(place)
      if (weight) weights.set(place, weight)
    }
    const named = places.filter((place) => !weights.has(place) && file.tensors.has(place.path))
    for (const place of named) this.checkNamed(tensor, place)
    for (const [place, weight] of weights) this.checkParts(place, weight)
    const found = new Map<Place, Source>()
    for (const place of places) {
      const like = [...weights.keys()].find((other) => quantizedLike(other, place))
      const from = weights.has(place) ? (like ?? place) : (named[0] ?? like)
      const unknown = file.unknown.get(place.path)
      const source = (from && found.get(from)) ?? this.sourceAt(tensor, from, weights)
      if (source) source.places.push(place)
      else if (isCounter(tensor, place))
        this.sources.push({ places: [place], whole: true, origin: { kind: 'zero' } })
      else if (unknown) this.problem(unknown.name, `is of ${unknown.type}, which is not known`)
      else this.isMissing(place.path)
      if (from && source) found.set(from, source)
    }
  }

  /** The quantized weight at a place, if the file holds any part of it. */
  private codesAt({ module, modulePath, path }: Place): QuantizedWeight | null {
    if (!(module instanceof QWeightModule) || path !== joinPath(modulePath, 'weight')) return null
    const stored = this.file.tensors.get(path)?.dtype
    const weight = this.quantized && storedLayer(this.quantized, modulePath, module)?.weight
    // Some schemes keep their codes under the name of the float weight, as values of a float dtype even.
    const codes = weight?.parts.find(({ name }) => joinPath(modulePath, name) === path)
    if (stored !== undefined && isFloatDType(stored) && !codes?.dtypes.includes(stored)) return null
    return weight?.parts.some(({ name }) => this.file.tensors.has(joinPath(modulePath, name))) ? weight : null
  }

  private sourceAt(
    tensor: Parameter,
    place: Place | undefined,
    weights: ReadonlyMap<Place, QuantizedWeight>,
  ): Source | undefined {
    if (!place) return undefined
    const weight = weights.get(place)
    const info = this.file.tensors.get(place.path) as TensorInfo
    const origin: Origin = weight
      ? { kind: 'quantized', layer: place.modulePath, weight }
      : { kind: 'tensor', info }
    const source = { places: [], whole: !isFloatDType(tensor.dtype), origin }
    this.sources.push(source)
    return source
  }

  private checkNamed(tensor: Parameter, { path }: Place): void {
    const { name, dtype, shape } = this.file.tensors.get(path) as TensorInfo
    const whole = !isFloatDType(tensor.dtype)
    if (whole ? dtype !== tensor.dtype : !isFloatDType(dtype)) {
      const dtypes = whole ? [tensor.dtype] : [...floats, ...(this.quantized?.dtypes ?? [])]
      this.problem(name, `must be ${anyOf(dtypes)}; it is ${dtype}`)
    } else if (!sameShape(shape, tensor.shape))
      this.problem(name, `must be ${showShape(tensor.shape)}; it is ${showShape(shape)}`)
  }

  private checkParts(
    { module, modulePath, path: weightPath }: Place,
    { parts, facts }: QuantizedWeight,
  ): void {
    if (module instanceof QWeightModule && module.weights !== facts.qtype)
      this.problem(weightPath, `must be ${module.weights.name}; it is ${facts.qtype.name}`)
    for (const part of parts) {
      const path = joinPath(modulePath, part.name)
      this.used.add(path)
      const info = this.file.tensors.get(path)
      if (!info) this.isMissing(path)
      else if (!fits(info, part)) {
        const expected = `${anyOf(part.dtypes)} ${showShape(part.shape)}`
        this.problem(info.name, `must be ${expected}; it is ${info.dtype} ${showShape(info.shape)}`)
      }
    }
  }

  /** The scales of quantized activations, which are read apart. */
  addScales(model: Module): void {
    for (const [module, paths] of model.modulePaths()) {
      if (!(module instanceof QModule)) continue
      for (const name of activationScales) {
        const names = paths.map((path) => joinPath(path, name))
        for (const each of names) this.used.add(each)
        if (scalesInUse(module).includes(name) && !names.some((each) => this.file.tensors.has(each)))
          this.isMissing(names[0])
      }
    }
  }

  private problem(tensor: string, problem: string): void {
    this.problems.push({ tensor, kind: 'misfit', problem })
  }

  private isMissing(tensor: string): void {
    this.problems.push({ tensor, kind: 'missing', problem: 'is missing' })
  }
}

const floats: readonly StoredDType[] = ['float32', 'float16', 'bfloat16']

function fits({ dtype, shape }: TensorInfo, part: Part): boolean {
  return part.dtypes.includes(dtype) && sameShape(shape, part.shape)
}

/** Whether both are twins that quantize a weight alike. */
function quantizedLike(a: Place, b: Place): boolean {
  if (!(a.module instanceof QWeightModule) || !(b.module instanceof QWeightModule)) return false
  const [p, q] = [a.module.quantization, b.module.quantization]
  return p.qtype === q.qtype && p.groupSize === q.groupSize
}

/** Files of older versions of PyTorch have no counts of batches. */
function isCounter(tensor: Parameter, { path }: Place): boolean {
  return tensor.dtype === 'int64' && /(^|\.)num_batches_tracked$/.test(path)
}
