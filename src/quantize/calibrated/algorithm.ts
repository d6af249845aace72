import { aBoolean, aFunction, anObject, aString, type Kind } from '../../core/kinds.ts'
import { checkOptions, type OptionKinds, required } from '../../core/options.ts'
import type { Device } from '../../devices/device.ts'
import type { Module } from '../../nn/module.ts'
import type { QWeightModule } from '../../nn/qmodule.ts'
import type { WeightParts } from '../../qtensor/parts.ts'
import { aQuantizer, type Quantizer } from '../../qtensor/quantizer.ts'
import type { Tensor } from '../../tensor/tensor.ts'
import type { QuantizeOptions } from '../quantize.ts'
import type { Edits } from './edits.ts'
import type { HiddenStates } from './hiddenStates.ts'

/*
 * What calibrated quantization is made of: a list of algorithms, each of which changes the model, or solves
 * its layers, at its own place in the run. The run (run.ts) says what passes through the model when.
 *
 * The rule for everything that changes a float model: put a new tensor in the place of the old one
 * (`run.edits.put(norm, 'weight', mul(norm.weight, s))`), and neither overwrite nor dispose what the model
 * had. The run puts that back where something fails, and gives it back where nothing does.
 */

/** A way to quantize a model by what passes through it, or a step of one. */
export interface CalibratedAlgorithm {
  readonly name: string
  /** What it was made with: a run that goes on where another stopped must have the same. */
  readonly settings?: Readonly<Record<string, unknown>>
  /**
   * What weights become: options of `quantize`. Of several algorithms the last that says something decides.
   */
  readonly options?: Partial<Omit<QuantizeOptions, 'algorithm'>>
  /**
   * Solves layers one by one, from statistics of what they multiply if it collects any, and without
   * statistics (of a layer that no token reached, of embeddings) by rounding. At most one of a list; where
   * none has one, weights are rounded.
   */
  readonly quantizer?: Quantizer
  /**
   * Whether layers of a block are solved one group after the other, each from what the quantized layers
   * before it give; else all from one pass through the float block. Default false.
   */
  readonly trueSequential?: boolean
  /** Changes the float model before any block is quantized. */
  prepare?(run: CalibratedRun): Promise<void>
  /** Changes a float block, or settles layers of it, before the rest is solved. */
  block?(block: CalibratedBlock): Promise<void>
  /** Changes the quantized model, after the last block. */
  finish?(run: CalibratedRun): Promise<void>
}

/** A layer that is to be quantized. */
export interface CalibratedLayer {
  readonly path: string
  /** It stands in the model until it is solved. */
  readonly float: FloatLayer
  /**
   * How it will be quantized, and what will then stand in its place. Its weight is the layer's once that is
   * solved; `roundedWeight` and `outputRows` serve before.
   */
  readonly twin: QWeightModule
}

/** A layer whose weight is float. */
export type FloatLayer = Module & { weight: Tensor; bias: Tensor | null; forward(x: Tensor): Tensor }

/** The whole run, as algorithms see it. */
export interface CalibratedRun {
  readonly model: Module
  readonly device: Device
  /** All that will be quantized, by path, in the order of the model's modules. */
  readonly layers: ReadonlyMap<string, CalibratedLayer>
  readonly samples: number
  /** What `forward` takes of the first sample, short where that is token ids, as tensors: for a trace. */
  readonly example: readonly unknown[]
  /** Changes the tensors of the float model. */
  readonly edits: Edits
  /** To be asked between two samples: `run.signal?.throwIfAborted()`. */
  readonly signal?: AbortSignal
  /**
   * Passes all samples through the model as it is; watch its modules meanwhile (`Module.observe`).
   * @param onSample called after each of them, with what the model gave; the next waits for it
   */
  pass(onSample?: (sample: number, y: unknown) => void | Promise<void>): Promise<void>
  /** What the model gives of a sample with what its layers are now; gradients pass. Of the running scope. */
  forward(sample: number): unknown
  /** A place for a tensor of each sample, in memory or in the scratch file. */
  createStates(): HiddenStates
  warn(message: string): void
  /** How much is done, 0 to 1, of what `finish` does. */
  tell(done: number): void
}

/** A block whose layers are about to be solved; a model without blocks is one. */
export interface CalibratedBlock
  extends Omit<CalibratedRun, 'layers' | 'pass' | 'forward' | 'model' | 'tell'> {
  /** '' where it is the whole model, or what lies outside of its blocks. */
  readonly path: string
  readonly module: Module
  /** Those of the block that will be quantized. */
  readonly layers: ReadonlyMap<string, CalibratedLayer>
  /**
   * What the block takes of a sample: as the quantized blocks before it give that. Null where the block is
   * the first thing of the model.
   */
  input(sample: number): Promise<Tensor | null>
  /** What the float block gives for that input, as it was before any algorithm changed it. */
  target(sample: number): Promise<Tensor>
  /** What the block gives with what its layers are now; gradients pass. */
  forward(sample: number, input: Tensor | null): Tensor
  /** The codes of a layer, which is then not solved any more; the tensors stay the caller's. */
  settle(path: string, parts: WeightParts): void
}

const algorithmKinds: OptionKinds<CalibratedAlgorithm> = {
  name: required(aString),
  settings: anObject,
  options: anObject,
  quantizer: aQuantizer,
  trueSequential: aBoolean,
  prepare: aFunction,
  block: aFunction,
  finish: aFunction,
}

/** An algorithm, such as `gptq({ bits: 4 })` gives. */
export const anAlgorithm: Kind = {
  must: 'be an algorithm, as gptq({ bits: 4 }) gives it, or a list of them',
  holds: (value) => anObject.holds(value) && typeof (value as CalibratedAlgorithm).name === 'string',
}

/** @throws ShapeError unless it is one, with nothing that it may not have */
export function checkAlgorithm(operation: string, algorithm: CalibratedAlgorithm): void {
  checkOptions(operation, algorithm, algorithmKinds)
}
