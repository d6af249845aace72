import { DTypeError, ShapeError } from '../core/errors.ts'
import { aBoolean, aFunction, aNumber, aString, check, either, oneOf } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import type { QType } from '../core/qtype.ts'
import { showShape } from '../core/shape.ts'
import type { Device } from '../devices/device.ts'
import { aModule, type Module } from '../nn/module.ts'
import type { Observation } from '../nn/observe.ts'
import { activationScales, QModule } from '../nn/qmodule.ts'
import { type ActivationUse, QActivation } from '../qtensor/activation.ts'
import { chooseScales, symmetricRange } from '../qtensor/rows.ts'
import { op } from '../tensor/op.ts'
import { reduce } from '../tensor/ops/reduce.ts'
import { keep, scope } from '../tensor/scope.ts'
import { noGrad } from '../tensor/tape.ts'
import { Tensor } from '../tensor/tensor.ts'
import { Collection } from './collection.ts'
import { DeviceHistogram } from './histogram.ts'
import { type Observer, type ObserverName, observers } from './observers.ts'

/** How `calibrate` chooses the scales of activations. */
export interface CalibrateOptions {
  /**
   * How much of a scale is kept when the next batch comes: scale = momentum · scale + (1 − momentum) · new.
   * Default 0.9.
   */
  momentum?: number
  /** The same for scales of inputs; default: `momentum`. */
  inputMomentum?: number
  /**
   * How scales are chosen: `absmax`, the moving one of quanto (default); or, from histograms over all
   * batches, `percentile` (99.99 %), `mse` (the least squared error), `histogram` (the least divergence), or
   * a function such as `percentile({ percent: 99.9 })`.
   */
  observer?: ObserverName | Observer
  /**
   * Leaves outputs float that no quantized layer takes, directly or through operations that keep them
   * quantized. Default true.
   */
  streamline?: boolean
  /**
   * Does exactly what optimum-quanto 0.2.7 does where its documentation promises something else: scales of
   * inputs move with a momentum of 0.9 whatever was asked for, and streamlining leaves the outputs of all
   * modules float.
   */
  mirror?: keyof typeof mirrors
  /**
   * Is called with a line on each module: what its scales are, and what became of its output. `true` prints
   * them.
   */
  debug?: boolean | ((line: string) => void)
}

/** What libraries do where their documentation promises something else. */
const mirrors = {
  quanto: { inputMomentum: 0.9, floatOutputs: true },
} satisfies Record<string, Mirror>

interface Mirror {
  /** Of scales of inputs, whatever was asked for. */
  readonly inputMomentum?: number
  /** Whether streamlining leaves the outputs of all modules float. */
  readonly floatOutputs?: boolean
}

const optionKinds: OptionKinds<CalibrateOptions> = {
  momentum: aNumber,
  inputMomentum: aNumber,
  observer: either('be the name of an observer or a function', aString, aFunction),
  streamline: aBoolean,
  mirror: oneOf(...Object.keys(mirrors)),
  debug: either('be true, false or a function', aBoolean, aFunction),
}

/** What a calibration found at one module. */
export interface CalibratedModule {
  path: string
  inputScale: number
  outputScale: number
  /** Whether the module's output is quantized from now on. */
  outputQuantized: boolean
  /** The operations that computed on the codes of its output, and how often the codes were made float. */
  keptBy: string[]
  dequantized: number
}

/**
 * Chooses the scales of quantized activations: the largest magnitude that each module takes and gives, over
 * the batches that `run` passes through the model, in a moving average, or what `observer` makes of all of
 * them. The scales stay on the device until `run` has ended. Quantizers that need it collect what they know
 * of inputs; until then their layers compute with their float weights.
 *
 *     await calibrate(model, () => { for (const batch of batches) scope(() => { model.forward(batch) }) })
 *
 * Scales that depend on float sums agree with quanto's up to ties: two activations on the other side of a tie
 * move all behind them. quanto's own scales of stories260K at int4 move by 0.4 % when transformers computes
 * attention in another order; with int8 weights, whose sums are whole numbers, ours agree with it to 4·10⁻⁷.
 * Source: optimum-quanto 0.2.7, calibrate.py.
 * @returns what was found at each module
 * @throws ShapeError if no batch reached a module with quantized activations, or an empty one did; DTypeError
 * if one that is not finite did;
 *   the scales are then as before
 */
export async function calibrate(
  model: Module,
  run: () => unknown,
  options: CalibrateOptions = {},
): Promise<CalibratedModule[]> {
  check('calibrate', 'model', model, aModule)
  check('calibrate', 'run', run, aFunction)
  checkOptions('calibrate', options, optionKinds)
  const calibration = new Calibration(model, options)
  try {
    await run()
    return await calibration.finish()
  } catch (error) {
    calibration.undo()
    throw error
  } finally {
    calibration.detach()
  }
}

/** The module's state from before, to be put back if the calibration fails. */
interface Before {
  input_scale: Tensor | null
  output_scale: Tensor | null
  outputQuantized: boolean
}

type ScaleName = (typeof activationScales)[number]

class Calibration {
  private readonly momentum: { input_scale: number; output_scale: number }
  private readonly streamlined: boolean
  /** Null where scales follow the batches. */
  private readonly observer: Observer | null
  private readonly histograms = new Map<QModule, Partial<Record<ScaleName, DeviceHistogram>>>()
  private readonly options: CalibrateOptions
  private readonly mirror: Mirror
  private readonly paths: Map<QModule, string>
  private readonly before = new Map<QModule, Before>()
  /** Modules in the order of their first call. */
  private readonly uses = new Map<QModule, ActivationUse>()
  private readonly observations: Observation[] = []
  private readonly collection: Collection

  constructor(model: Module, options: CalibrateOptions) {
    const momentum = options.momentum ?? 0.9
    this.options = options
    this.mirror = options.mirror ? mirrors[options.mirror] : {}
    this.momentum = {
      input_scale: this.mirror.inputMomentum ?? options.inputMomentum ?? momentum,
      output_scale: momentum,
    }
    this.streamlined = options.streamline ?? true
    this.observer = observerOf(options.observer ?? 'absmax')
    for (const value of Object.values(this.momentum)) {
      if (!(value >= 0 && value < 1))
        throw new ShapeError(`calibrate: momentum must lie in 0..1, 1 excluded; received ${value}`)
    }
    const modules = [...model.namedModules()].filter(
      (entry): entry is [string, QModule] => entry[1] instanceof QModule,
    )
    this.paths = new Map(
      modules.filter(([, { activations }]) => activations).map(([path, module]) => [module, path]),
    )
    this.collection = new Collection(model)
    if (this.paths.size === 0 && this.collection.layers === 0)
      throw new ShapeError(
        'calibrate: the model must have quantized activations, or a quantizer that collects; quantize(model, { weights, activations }) first',
      )
    for (const module of this.paths.keys()) {
      const input = ([x]: readonly unknown[]) => this.input(module, x)
      const computed = (y: Tensor) => this.update(module, 'output_scale', y)
      this.observations.push(module.observe({ input, computed, output: (y) => this.returned(module, y) }))
    }
    // After each pass through the model it is known what became of the outputs.
    this.observations.push(model.observe(() => this.streamline()))
  }

  /** The model forgets the calibration. */
  detach(): void {
    for (const end of this.observations) end()
    this.collection.detach()
    for (const pair of this.histograms.values())
      for (const histogram of Object.values(pair)) histogram.dispose()
  }

  private input(module: QModule, x: unknown): void {
    if (!this.before.has(module)) {
      const { input_scale, output_scale, outputQuantized } = module
      this.before.set(module, { input_scale, output_scale, outputQuantized })
      this.uses.set(module, { keptBy: new Set(), dequantized: 0, taken: false })
    }
    // Ids are no activations.
    if (!(x instanceof Tensor) || x.dtype !== 'float32') return
    if (x.numel === 0)
      throw new ShapeError(
        `calibrate: batches must hold values; the input of ${this.paths.get(module)} is ${showShape(x.shape)}`,
      )
    // What is quantized already brings its scale along.
    if (x instanceof QActivation) this.set(module, 'input_scale', x.scale.clone())
    else this.update(module, 'input_scale', x)
  }

  private returned(module: QModule, y: unknown): void {
    if (y instanceof QActivation) y.use = this.uses.get(module) ?? null
  }

  private update(module: QModule, name: ScaleName, x: Tensor): void {
    const { activations } = module
    if (!activations) return
    const scale = noGrad(() =>
      scope(() => {
        const next = absmaxScale(x, activations)
        // While values are counted none is cut off: each batch has its own scale.
        return module[name] ? movingScale(module[name], next, this.observer ? 0 : this.momentum[name]) : next
      }),
    )
    this.set(module, name, scale)
    if (this.observer) this.histogramOf(module, name, x.device).add(x)
  }

  private histogramOf(module: QModule, name: ScaleName, device: Device): DeviceHistogram {
    const pair = this.histograms.get(module) ?? {}
    this.histograms.set(module, pair)
    pair[name] ??= new DeviceHistogram(device)
    return pair[name]
  }

  /** The scale that the observer chooses in place of the one that moved with the batches. */
  private async choose(module: QModule, name: ScaleName): Promise<number | undefined> {
    const histogram = this.histograms.get(module)?.[name]
    const { observer } = this
    if (!observer || !histogram || !module.activations) return undefined
    const chosen = observer(await histogram.read(), module.activations)
    this.set(module, name, Tensor.fromNumbers(histogram.device, [chosen], []))
    return chosen
  }

  private set(module: QModule, name: ScaleName, scale: Tensor): void {
    const old = module[name]
    module[name] = keep(scale)
    if (old && old !== this.before.get(module)?.[name]) old.dispose()
  }

  private streamline(): void {
    if (!this.streamlined) return
    const { floatOutputs } = this.mirror
    for (const [module, use] of this.uses) if (floatOutputs || !use.taken) module.outputQuantized = false
  }

  /** Reads the scales, once, and checks them. */
  async finish(): Promise<CalibratedModule[]> {
    if (this.uses.size + this.collection.reached === 0)
      throw new ShapeError(
        'calibrate: run must pass at least one batch through the model; no quantized module was reached',
      )
    this.streamline()
    const found: CalibratedModule[] = []
    for (const [module, { keptBy, dequantized }] of this.uses) {
      const path = this.paths.get(module) ?? ''
      const scaleOf = async (name: ScaleName, what: string) => {
        const moving = await finiteValue(module[name], `${what} of ${path}`)
        return (await this.choose(module, name)) ?? moving
      }
      const inputScale = await scaleOf('input_scale', 'the input')
      const outputScale = await scaleOf('output_scale', 'the output')
      found.push({
        path,
        inputScale,
        outputScale,
        outputQuantized: module.outputQuantized,
        keptBy: [...keptBy],
        dequantized,
      })
    }
    this.report(found)
    this.collection.finish()
    for (const [module, before] of this.before)
      for (const name of activationScales) if (before[name] !== module[name]) before[name]?.dispose()
    return found
  }

  private report(found: readonly CalibratedModule[]): void {
    const { debug } = this.options
    if (!debug) return
    const print = debug === true ? console.log : debug
    for (const { path, inputScale, outputScale, outputQuantized, keptBy, dequantized } of found) {
      const output = outputQuantized ? 'output quantized' : 'output float'
      const kept = keptBy.length > 0 ? `, kept quantized by ${keptBy.join(', ')}` : ''
      const floats = dequantized > 0 ? `, dequantized ${dequantized} times` : ''
      print(
        `${path}: input scale ${inputScale.toPrecision(6)}, output scale ${outputScale.toPrecision(6)}, ${output}${kept}${floats}`,
      )
    }
  }

  /** Puts back what was there before. */
  undo(): void {
    for (const [module, before] of this.before) {
      for (const name of activationScales) if (module[name] !== before[name]) module[name]?.dispose()
      Object.assign(module, before)
    }
  }
}

function observerOf(observer: ObserverName | Observer): Observer | null {
  if (typeof observer === 'function') return observer
  if (Object.hasOwn(observers, observer)) return observers[observer]
  throw new ShapeError(
    `calibrate: observer must be a function or one of ${Object.keys(observers).join(', ')}; received ${observer}`,
  )
}

/** @throws DTypeError if a scale is not finite: an activation held NaN or an infinity. */
async function finiteValue(scale: Tensor | null, what: string): Promise<number> {
  if (!scale) return 1
  const [value] = await scale.toNumbers()
  if (Number.isFinite(value)) return value
  throw new DTypeError(
    `calibrate: activations must be finite; ${what} held ${Number.isNaN(value) ? 'NaN' : 'an infinity'}`,
  )
}

/**
 * max |x| / qmax, [] float32.
 * Source: optimum-quanto 0.2.7, calibrate.py, `absmax_scale`.
 */
export function absmaxScale(x: Tensor, qtype: QType): Tensor {
  return scope(() => {
    const rows = x.shape.length > 1 ? reduce('absmax', x) : x
    return chooseScales(rows.view([1, rows.numel]), 'absmax', symmetricRange(qtype)).scale.view([])
  })
}

const movingScale = op(
  'movingScale(scale, next, momentum)',
  (scale: Tensor, next: Tensor, momentum: number): Tensor => {
    const y = Tensor.empty(scale.device, [])
    scale.device.call('movingScale', { scale, next, y, momentum, complement: 1 - momentum })
    return y
  },
)
