import { aBoolean, aFunction, check } from '../core/kinds.ts'
import { checkOptions, type OptionKinds, required } from '../core/options.ts'
import type { Shape } from '../core/shape.ts'
import { matrixShape } from '../qtensor/parts.ts'
import type { QTensor } from '../qtensor/qtensor.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { Conv2d } from './conv2d.ts'
import { Convolution, ForwardConvolution } from './convolution.ts'
import { Embedding } from './embedding.ts'
import { Router } from './experts.ts'
import { Conv1D, QConv1D } from './gptConv1D.ts'
import { Linear } from './linear.ts'
import type { Module } from './module.ts'
import { LayerNorm } from './normalization.ts'
import { QConv, QWindowConv } from './qconv.ts'
import { QEmbedding } from './qembedding.ts'
import { QLayerNorm } from './qlayerNorm.ts'
import { QLinear } from './qlinear.ts'
import type { ActivationQuantization, QModule, WeightQuantization } from './qmodule.ts'

/** A class of layers. */
export type LayerClass<M extends Module = Module> = abstract new (...args: never[]) => M

/** What a twin is made with. */
export interface TwinOptions {
  /** How the weight is quantized; null where it stays float. */
  weights: WeightQuantization | null
  activations: ActivationQuantization
}

/** How the quantized twin of a layer class is made. */
export interface Twin<M extends Module = Module> {
  /** The twin of `layer`, which takes over its tensors; null where nothing of it is to be quantized. */
  make(layer: M, options: TwinOptions): QModule | null
  /** Whether only those quantize it who name the class in `layers`. */
  onRequest?: boolean
}

const twinKinds: OptionKinds<Twin> = { make: required(aFunction), onRequest: aBoolean }

/** The twin of each layer class; `registerQuantizedModule` adds to it. */
const twins = new Map<LayerClass, Twin>()

/**
 * Says how the layers of a class (and of classes that extend it) are quantized; replaces what was said
 * before.
 *
 *     registerQuantizedModule(MyLinear, { make: (layer, { weights, activations }) => weights && new QMyLinear(layer, weights, activations) })
 */
export function registerQuantizedModule<M extends Module>(layer: LayerClass<M>, twin: Twin<M>): void {
  check('registerQuantizedModule', 'layer', layer, { ...aFunction, must: 'be a class of layers' })
  checkOptions('registerQuantizedModule', twin as Twin, twinKinds)
  twins.set(layer, twin as Twin)
}

const linear: Twin<Linear> = {
  make: (layer, { weights, activations }) => weights && new QLinear(layer, weights, activations),
}

const builtIn: readonly [LayerClass, Twin][] = [
  twinOf(Linear, linear),
  twinOf(Router, { ...linear, onRequest: true }),
  twinOf(Conv2d, { make: convolution }),
  twinOf(Convolution, { make: convolution }),
  twinOf(LayerNorm, {
    make: (layer, { activations }) => (activations.qtype ? new QLayerNorm(layer, activations) : null),
  }),
  twinOf(Conv1D, {
    make: (layer, { weights, activations }) => weights && new QConv1D(layer, weights, activations),
  }),
  twinOf(Embedding, {
    make: (layer, { weights, activations }) => weights && new QEmbedding(layer, weights, activations),
    onRequest: true,
  }),
]

function convolution(layer: Convolution, { weights, activations }: TwinOptions): QModule | null {
  if (!weights) return null
  return layer instanceof ForwardConvolution && layer.groups === 1
    ? new QWindowConv(layer, weights, activations)
    : new QConv(layer, weights, activations)
}

function twinOf<M extends Module>(layer: LayerClass<M>, twin: Twin<M>): [LayerClass, Twin] {
  return [layer, twin as Twin]
}

/** A layer class, and how its twin is made. */
export interface FoundTwin {
  layerClass: LayerClass
  twin: Twin
}

/** The twin of a layer's class, or of the nearest class that it extends; undefined where there is none. */
export function findTwin(layer: Module): FoundTwin | undefined {
  for (
    let prototype = Object.getPrototypeOf(layer);
    prototype;
    prototype = Object.getPrototypeOf(prototype)
  ) {
    const layerClass: LayerClass = prototype.constructor
    const twin = twins.get(layerClass) ?? builtIn.find(([known]) => known === layerClass)?.[1]
    if (twin) return { layerClass, twin }
  }
  return undefined
}

/** Whether the float weight of a layer is [in, out], and its codes, like those of all others, [out, in]. */
export function isTurned(layer: Module): layer is Conv1D | QConv1D {
  return layer instanceof Conv1D || layer instanceof QConv1D
}

/** The shape of a layer's weight as it is quantized, outputs first: [out, in], or a convolution's. */
export function weightShape(layer: Module, weight: Tensor | QTensor): Shape {
  return isTurned(layer) ? [layer.nf, layer.nx] : weight.shape
}

/** Columns of a layer's weight as the matrix that is quantized, one row an output. */
export function weightColumns(layer: Module, weight: Tensor): number {
  return matrixShape(weightShape(layer, weight))[1]
}
