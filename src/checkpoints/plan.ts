import { host } from '#host'
import type { DType, FloatDType } from '../core/dtype.ts'
import { several } from '../core/lists.ts'
import type { Shape } from '../core/shape.ts'
import type { Device } from '../devices/device.ts'
import type { TensorFile } from '../formats/tensorFile.ts'
import { Linear } from '../nn/linear.ts'
import { joinPath, type Module, type Parameter } from '../nn/module.ts'
import { QWeightModule } from '../nn/qmodule.ts'
import type { CodesForm } from '../qtensor/heldCodes.ts'
import type { WeightFacts } from '../qtensor/parts.ts'
import type { QTensor } from '../qtensor/qtensor.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { isActivationScale, readActivationScales, readScales, type SavedScales } from './activationScales.ts'
import type { Detected } from './detect.ts'
import { matchTensors, type Source } from './match.ts'
import { refuseProblems } from './problems.ts'
import { hasRows, type Reading, readSource, readSourceRows, readWeight } from './read.ts'
import { Staging } from './staging.ts'
import { quantizedTwins } from './twins.ts'

/** One parameter of a model whose weights are not read yet: what it will be, and how to get it. */
export interface PlannedParameter {
  /** Its first path in the model. */
  readonly path: string
  /** All of them: tied parameters are planned once. */
  readonly paths: readonly string[]
  readonly shape: Shape
  /** Its dtype or quantized type as saved, for example `float16` or `qint4, groups of 32`. */
  readonly kind: string
  /** Its dtype as saved, or that of the floats that a quantized one stands for. */
  readonly dtype: DType
  /** Of a quantized one: what its product depends on. */
  readonly weight?: WeightFacts
  /** Bytes that it takes in its file. */
  readonly byteLength: number
  /**
   * Reads it onto the device; `dtype` is what floats become (default: as saved).
   * @throws FormatError if its bytes are not what its place in the model needs
   */
  load(device: Device, dtype?: FloatDType): Promise<Parameter>
  /**
   * A quantized one, with codes in a form that is good for looking at it or for passing it on, where its
   * scheme can give it so; null of others.
   * @throws FormatError as `load`
   */
  loadAs(form: CodesForm, device: Device): Promise<QTensor | null>
  /**
   * What `load` reads, of some rows, from the first to the last (exclusive); absent where only all are to be
   * had.
   */
  loadRows?(rows: readonly [number, number], device: Device, dtype?: FloatDType): Promise<Tensor>
}

/** A model with shapes only, and where its parameters come from. */
export interface LoadPlan<M extends Module = Module> {
  /** What messages call the checkpoint. */
  readonly name: string
  readonly model: M
  /** The name of the scheme of its quantized weights, `none` for a float model. */
  readonly scheme: string
  readonly parameters: readonly PlannedParameter[]
  /** The checkpoint's tensors, by their paths in the model. */
  readonly file: TensorFile
  /** What of the checkpoint is not sound and not needed, a sentence each. */
  readonly warnings: readonly string[]
  /** Reads the scales of quantized activations as numbers. */
  scales(): Promise<SavedScales[]>
  /** Reads what belongs to the model besides its parameters: the scales of activations. */
  finish(device: Device): Promise<void>
  /** Lets go of the files. */
  close(): Promise<void>
}

/** What else is known of a checkpoint that is planned. */
export interface PlanOptions {
  /** Where the model's tensors are described: `config.json describes`, `the metadata describe`. */
  readonly described: string
  /** Whether a tensor that is none of the model's belongs there all the same. */
  isExtra(name: string): boolean
  /** Told of what is ignored. */
  warn(message: string): void
}

/** The parts of a plan that follow from a model, which gets twins for quantized layers, and its file. */
export type PlannedTensors = Pick<LoadPlan, 'scheme' | 'parameters' | 'file' | 'scales' | 'finish' | 'close'>

/**
 * Plans how the parameters of an empty model come from a file, others having their turns meanwhile.
 * @throws FormatError that lists what is missing, misshapen, of another type, or no part of the model
 */
export async function planTensors(
  model: Module,
  file: TensorFile,
  { scheme, quantized }: Detected,
  { described, isExtra, warn }: PlanOptions,
): Promise<PlannedTensors> {
  if (quantized) {
    const { twins, problems } = quantizedTwins(model, quantized, file)
    refuseProblems(`${file.name}: the layers that are quantized must be those of the model`, problems)
    await host.turn()
    model.replaceModules(twins)
    // Some are known once the layers were asked for.
    for (const warning of quantized.warnings ?? []) warn(warning)
  }
  dropAbsentBiases(model, file, warn)
  await host.turn()
  const { sources, problems } = matchTensors(model, file, quantized)
  refuseProblems(
    `${file.name}: the tensors must be those that ${described}`,
    problems.filter(({ kind, tensor }) => kind !== 'unexpected' || !isPassedOver(tensor, isExtra)),
  )
  const staging = new Staging()
  return {
    scheme,
    parameters: sources.map((source) => planned(source, { file, staging })),
    file,
    scales: () => readScales(file, model),
    finish: (device) => readActivationScales(device, file, model),
    close: () => file.close(),
  }
}

/** Scales of activations that a float model's file holds are as good as none. */
function isPassedOver(name: string, isExtra: (name: string) => boolean): boolean {
  return isActivationScale(name) || isExtra(name)
}

function planned(source: Source, reading: Omit<Reading, 'device'>): PlannedParameter {
  const { origin, places } = source
  const { file } = reading
  const paths = places.map(({ path }) => path)
  const load = (device: Device, dtype?: FloatDType) => readSource(source, { ...reading, device, dtype })
  const loadAs = (form: CodesForm, device: Device) => readWeight(source, form, { ...reading, device })
  if (origin.kind === 'zero')
    return { path: paths[0], paths, shape: [], kind: 'int64', dtype: 'int64', byteLength: 0, load, loadAs }
  if (origin.kind === 'tensor') {
    const { shape, dtype, byteLength } = origin.info
    const loadRows: PlannedParameter['loadRows'] = (rows, device, dtype) =>
      readSourceRows(source, rows, { ...reading, device, dtype })
    return {
      ...{ path: paths[0], paths, shape, kind: dtype, dtype: dtype as DType, byteLength, load, loadAs },
      ...(hasRows(source) && { loadRows }),
    }
  }
  const { facts, dtype, kind, parts } = origin.weight
  const sizes = parts.map(({ name }) => file.tensors.get(joinPath(origin.layer, name))?.byteLength ?? 0)
  const byteLength = sizes.reduce((sum, size) => sum + size, 0)
  return { path: paths[0], paths, shape: facts.shape, kind, dtype, weight: facts, byteLength, load, loadAs }
}

/**
 * Drops the biases of linear layers that a checkpoint does not have, and says so: they count as 0, as in
 * transformers.
 */
function dropAbsentBiases(model: Module, file: TensorFile, warn: (message: string) => void): void {
  const absent = [...model.namedModules()].flatMap(([path, module]) => {
    const isLinear = module instanceof Linear || module instanceof QWeightModule
    const name = joinPath(path, 'bias')
    if (!isLinear || !module.bias || file.tensors.has(name) || file.unknown.has(name)) return []
    module.bias = null
    return [name]
  })
  if (absent.length === 0) return
  warn(`${file.name}: must hold every bias that the model has; ${several(absent)} is missing and counts as 0`)
}
