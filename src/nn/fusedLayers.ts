import type { ComputeDType } from '../qtensor/computeDtype.ts'
import { linears } from '../qtensor/linears.ts'
import { keep, scope } from '../tensor/scope.ts'
import { changesSoFar, needsGrad } from '../tensor/tape.ts'
import { Tensor } from '../tensor/tensor.ts'
import type { Linear } from './linear.ts'
import type { Module } from './module.ts'
import type { QLinear } from './qlinear.ts'

/** A layer that can be computed together with others. */
export type FusedLayer = Linear | QLinear

/** The layers of all models that are computed together, each with its group. */
const groups = new WeakMap<Module, FusedLayers>()

/**
 * Layers that take the same input: of one row (a step of generation) the first that is called computes the
 * products of all, as one where their weights lie one behind the other, and the others take theirs. Of several
 * rows, and wherever gradients are asked for, each computes its own.
 */
export class FusedLayers {
  private static made = 0
  readonly layers: readonly FusedLayer[]
  /** Under which an input holds what was computed of it. */
  private readonly purpose = `fused ${FusedLayers.made++}`

  /** Of the outputs that an input holds, how much had been overwritten when they were computed. */
  private readonly computed = new WeakMap<Tensor[], number>()

  /** From now on the layers are computed together. */
  constructor(layers: readonly FusedLayer[]) {
    this.layers = layers
    for (const layer of layers) groups.set(layer, this)
  }

  /**
   * What the layer gives for x. Every output is taken once, and before anything is overwritten: who calls a
   * layer again has all computed again.
   */
  take(layer: FusedLayer, x: Tensor): Tensor {
    const i = this.layers.indexOf(layer)
    const outputs = x.derive<Tensor[]>(this.purpose, () => [])
    if (outputs[i]?.isDisposed !== false || this.computed.get(outputs) !== changesSoFar()) {
      for (const output of outputs) output.dispose()
      outputs.splice(0, outputs.length, ...keep(this.compute(x)))
      this.computed.set(outputs, changesSoFar())
    }
    const y = outputs[i].view(outputs[i].shape)
    outputs[i].dispose()
    return y
  }

  /** Whether the layers can be computed together for x. */
  fits(x: Tensor): boolean {
    const [first] = this.layers
    return (
      x.numel === first.inFeatures &&
      !x.handlers &&
      !needsGrad(x) &&
      this.layers.every((layer) => isPlain(layer) && sameProduct(layer, first))
    )
  }

  private compute(x: Tensor): Tensor[] {
    const [first] = this.layers
    const biases = this.layers.map(({ bias }) => bias).filter((bias) => bias !== null)
    return scope(() =>
      linears(
        x,
        this.layers.map(({ weight }) => weight),
        biases.length > 0 ? biases : null,
        ...productOf(first),
      ),
    )
  }
}

/** What a layer gives for x, where it is computed together with others; null where it is to compute itself. */
export function fusedOutput(layer: FusedLayer, x: Tensor): Tensor | null {
  const group = groups.get(layer)
  return group?.fits(x) ? group.take(layer, x) : null
}

/** The layers that one is computed together with, itself among them; none where it is not. */
export function fusedWith(layer: Module): readonly FusedLayer[] {
  return groups.get(layer)?.layers ?? []
}

/** Whether all that a layer does is multiply its weight, which does not learn. */
function isPlain(layer: FusedLayer): boolean {
  const { weight, bias } = layer
  if (needsGrad(bias)) return false
  if ('frozen' in layer) return layer.frozen && layer.activations === null
  return weight instanceof Tensor && !needsGrad(weight)
}

function sameProduct(layer: FusedLayer, first: FusedLayer): boolean {
  return (
    layer.constructor === first.constructor &&
    (layer.bias === null) === (first.bias === null) &&
    productOf(layer).every((one, i) => one === productOf(first)[i])
  )
}

/** What decides how a layer's product is computed, beside its weight. */
function productOf(layer: FusedLayer): [computeDtype: ComputeDType, outlierThreshold: number] {
  if (!('computeDtype' in layer)) return ['float32', 0]
  return [layer.computeDtype ?? 'float32', layer.outlierThreshold]
}
