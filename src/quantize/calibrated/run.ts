import { ShapeError } from '../../core/errors.ts'
import type { Device } from '../../devices/device.ts'
import type { Module } from '../../nn/module.ts'
import { weightColumns } from '../../nn/twins.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { keep, scope } from '../../tensor/scope.ts'
import { noGrad } from '../../tensor/tape.ts'
import { Tensor } from '../../tensor/tensor.ts'
import type { QuantizeOptions } from '../quantize.ts'
import { ActivationTwins } from './activationTwins.ts'
import type { CalibratedAlgorithm, CalibratedBlock, CalibratedLayer, CalibratedRun } from './algorithm.ts'
import { Edits } from './edits.ts'
import { expertsOf } from './expertRows.ts'
import { Changes, type FinishedStages, restoreStage } from './finishedStages.ts'
import { HiddenStates } from './hiddenStates.ts'
import { plannedLayers } from './plannedLayers.ts'
import { type CalibratedProgress, Progress } from './progress.ts'
import { Scratch, type ScratchFile } from './scratch.ts'
import { Snapshot } from './snapshot.ts'
import { roundScales } from './solve.ts'
import { type CalibratedReport, roundingErrors, type StageWork, solveStage } from './solveStage.ts'
import type { Model, SampleArguments, Stage } from './stage.ts'
import { Stream } from './stream.ts'
import { stagesOf } from './survey.ts'

/** What a run is made of, checked and in one form. */
export interface RunOptions {
  readonly algorithms: readonly CalibratedAlgorithm[]
  readonly samples: readonly SampleArguments[]
  /** Of `quantize`, for the layers that are to be quantized. */
  readonly quantization: QuantizeOptions
  readonly blocks?: readonly string[]
  /** How many bytes hidden states take on the device, and the file where the others lie. */
  readonly scratch: { readonly maxBytes: number; readonly open: () => Promise<ScratchFile> }
  /** Where finished stages are kept. */
  readonly finished?: FinishedStages
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: CalibratedProgress) => void
  readonly onWarning: (message: string) => void
}

/**
 * Quantizes a model stage by stage (stage.ts): the samples pass through a block, its layers are solved from
 * what they take, and what the quantized block then gives is what the next block takes.
 */
export async function runCalibrated(model: Model, options: RunOptions): Promise<CalibratedReport[]> {
  const run = new Run(model, options)
  const { algorithms } = options
  try {
    for (const algorithm of algorithms) await algorithm.prepare?.(run)
    const reports = await run.solveAll()
    for (const algorithm of algorithms) await run.finishWith(algorithm)
    await run.quantizeActivations()
    run.keep()
    return reports
  } catch (error) {
    run.undo()
    throw error
  } finally {
    await run.end()
  }
}

class Run implements CalibratedRun {
  readonly model: Model
  readonly device: Device
  readonly layers: ReadonlyMap<string, CalibratedLayer>
  readonly samples: number
  readonly example: readonly unknown[]
  readonly edits: Edits
  readonly signal?: AbortSignal
  readonly warn: (message: string) => void
  private readonly options: RunOptions
  private readonly activations: ActivationTwins
  private progress: Progress | null = null
  private readonly snapshot: Snapshot
  private readonly scratch: Scratch
  private readonly half: boolean
  private readonly states: HiddenStates[] = []

  constructor(model: Model, options: RunOptions) {
    this.model = model
    this.options = options
    this.samples = options.samples.length
    this.signal = options.signal
    this.warn = options.onWarning
    const { activations: _, ...weights } = options.quantization
    this.layers = plannedLayers(model, weights)
    this.activations = new ActivationTwins(model, options.quantization)
    const [first] = this.layers.values()
    this.device = first.float.weight.device
    this.half = first.float.weight.dtype !== 'float32'
    this.example = exampleOf(this.device, options.samples[0])
    this.snapshot = new Snapshot(model)
    this.edits = new Edits(model)
    this.scratch = new Scratch(options.scratch.maxBytes, options.scratch.open)
    model.eval()
  }

  createStates(): HiddenStates {
    const states = new HiddenStates(this.device, this.scratch, this.half)
    this.states.push(states)
    return states
  }

  forward(sample: number): unknown {
    return this.model.forward(...(this.options.samples[sample] as never[]))
  }

  async pass(onSample?: (sample: number, y: unknown) => void | Promise<void>): Promise<void> {
    for (let i = 0; i < this.samples; i++) {
      const y = noGrad(() => scope(() => this.forward(i)))
      await onSample?.(i, y)
      if (y instanceof Tensor) y.dispose()
      await this.device.sync()
      this.signal?.throwIfAborted()
    }
  }

  /** Lets an algorithm change the quantized model, a stage of its own. */
  async finishWith(algorithm: CalibratedAlgorithm): Promise<void> {
    if (!algorithm.finish) return
    this.progress?.begin('', 1)
    await algorithm.finish(this)
  }

  tell(done: number): void {
    this.progress?.set(done)
  }

  async solveAll(): Promise<CalibratedReport[]> {
    const { samples, blocks, onProgress } = this.options
    const stages = stagesOf(this.model, this.layers, this.example, blocks)
    const solving = stages.filter(({ groups }) => groups.length > 0).length
    const finishing = this.options.algorithms.filter(({ finish }) => finish).length
    const progress = new Progress(solving + finishing, onProgress)
    this.progress = progress
    const step = async () => {
      await this.device.sync()
      progress.step()
      this.signal?.throwIfAborted()
    }
    const keeps = this.trueSequential && !this.options.algorithms.some(({ block }) => block)
    const stream = (float: boolean) =>
      new Stream({
        ...{ samples, states: this.createStates(), float, step },
        keep: keeps && !float ? () => this.createStates() : null,
      })
    const quantized = stream(false)
    const seesFloat = this.options.algorithms.some(({ quantizer }) => quantizer?.seesFloat)
    const float = seesFloat ? stream(true) : null
    const reports: CalibratedReport[] = []
    const changes = new Changes(this.model)
    for (const [i, stage] of stages.entries()) {
      if (stage.groups.length > 0) {
        progress.begin(stage.path, this.samples * this.passes(stage))
        const known = await this.finished(i, changes)
        reports.push(...(known ?? (await this.finish(i, stage, changes, quantized, float))))
        if (known && stage.leadsOn) await quantized.recall(stage)
      }
      if (!stage.leadsOn) continue
      await float?.advance(stage)
      await quantized.advance(stage)
    }
    for (const layer of this.layers.values()) roundScales(layer)
    this.warnOfFewTokens(reports)
    return reports
  }

  /** Says where all data are less than a sixteenth of what would tell the columns of a layer apart. */
  private warnOfFewTokens(reports: readonly CalibratedReport[]): void {
    const { byLayer } = expertsOf(this.model)
    const tokens = Math.max(...reports.map((report) => report.tokens))
    const collecting = [...this.layers.values()].filter(
      ({ twin }) => twin.quantization.quantizer.collects && !byLayer.has(twin),
    )
    const columns = Math.max(0, ...collecting.map(({ float }) => weightColumns(float, float.weight)))
    if (tokens >= columns / 16) return
    this.warn(
      `quantizeCalibrated: statistics of ${columns} columns are of ${tokens} token${tokens === 1 ? '' : 's'}: too few to tell these apart; take more data`,
    )
  }

  /** The reports of a stage that an earlier run finished, which is put in place; null where none did. */
  private async finished(i: number, changes: Changes): Promise<readonly CalibratedReport[] | null> {
    const finished = await this.options.finished?.load(i)
    if (!finished) return null
    restoreStage(this.model, this.layers, finished)
    changes.take()
    return finished.reports
  }

  private async finish(
    i: number,
    stage: Stage,
    changes: Changes,
    quantized: Stream,
    float: Stream | null,
  ): Promise<CalibratedReport[]> {
    const reports = await this.solve(stage, quantized, float)
    await this.options.finished?.save(i, { tensors: changes.take(), reports })
    return reports
  }

  private get trueSequential(): boolean {
    return this.options.algorithms.some(({ trueSequential }) => trueSequential)
  }

  /** How often samples pass through a stage, at most. */
  private passes({ groups, leadsOn }: Stage): number {
    const collecting = this.trueSequential ? groups.length : 1
    return collecting + (leadsOn ? 1 : 0) + (this.options.algorithms.some(({ block }) => block) ? 1 : 0)
  }

  private async solve(stage: Stage, quantized: Stream, float: Stream | null): Promise<CalibratedReport[]> {
    const settled = new Map<string, QTensor>()
    const { model, samples, trueSequential, warn } = this
    const work: StageWork = { model, stage, samples, trueSequential, settled, warn, quantized, float }
    try {
      const changing = this.options.algorithms.filter(({ block }) => block)
      const rounded = changing.length > 0 ? await roundingErrors(work) : new Map<string, number>()
      if (changing.length > 0) await this.change(stage, quantized, changing, settled)
      return await solveStage(work, rounded)
    } catch (error) {
      for (const weight of settled.values()) weight.dispose()
      throw error
    }
  }

  /** Lets algorithms change a float block. */
  private async change(
    stage: Stage,
    stream: Stream,
    algorithms: readonly CalibratedAlgorithm[],
    settled: Map<string, QTensor>,
  ): Promise<void> {
    const targets = this.createStates()
    const after = async (i: number, y: unknown) => {
      if (y instanceof Tensor) await targets.put(i, y)
    }
    await stream.through(stage, { after })
    const { device, samples, example, edits, signal, warn } = this
    const block: CalibratedBlock = {
      ...{ device, samples, example, edits, signal, warn, path: stage.path, module: stage.module },
      layers: new Map(stage.layers.map((layer) => [layer.path, layer])),
      createStates: () => this.createStates(),
      input: (i) => stream.input(i),
      target: async (i) => {
        const target = await targets.get(i)
        if (target) return target
        throw new ShapeError(
          `quantizeCalibrated: ${stage.path || 'the model'} must give a tensor, for a target`,
        )
      },
      forward: (i, x) => stream.compute(stage, i, x) as Tensor,
      settle: (path, parts) => {
        settled.get(path)?.dispose()
        settled.set(path, keep(QTensor.fromParts(parts)))
      },
    }
    for (const algorithm of algorithms) await algorithm.block?.(block)
    targets.dispose()
  }

  /** The samples choose the scales of activations, where those are to be quantized. */
  async quantizeActivations(): Promise<void> {
    await this.activations.install(this.layers, () => this.pass())
  }

  /** The run has come to its end: floats that the model has no longer are given back. */
  keep(): void {
    this.snapshot.release()
  }

  /** The model is as it was. */
  undo(): void {
    this.activations.remove()
    const floats = [...this.layers.values()].map(({ float, twin }): [Module, Module] => [twin, float])
    this.model.replaceModules(new Map(floats))
    for (const { float, twin } of this.layers.values()) {
      if (twin.weight instanceof QTensor) twin.weight.dispose()
      twin.weight = float.weight
    }
    this.snapshot.restore()
  }

  async end(): Promise<void> {
    for (const states of this.states) states.dispose()
    this.edits.release()
    for (const one of this.example)
      if (one instanceof Tensor && !this.options.samples[0].includes(one)) one.dispose()
    this.snapshot.restoreTraining()
    await this.scratch.close()
  }
}

/** Token ids that an example has at most. */
const exampleTokens = 8

/** Arguments of `forward` with tensors in the place of token ids. */
function exampleOf(device: Device, sample: SampleArguments): unknown[] {
  return sample.map((one) => {
    const ids = one instanceof Int32Array || (Array.isArray(one) && typeof one[0] === 'number') ? one : null
    if (!ids) return one
    const some = Int32Array.from(ids.slice(0, exampleTokens))
    return keep(Tensor.fromArray(device, some, [1, some.length]))
  })
}
