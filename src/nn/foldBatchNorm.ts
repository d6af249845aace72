import type { FloatDType } from '../core/dtype.ts'
import { ShapeError } from '../core/errors.ts'
import { anIterable, check, type Kind } from '../core/kinds.ts'
import { add, cast, channelAffine, mul } from '../tensor/ops/index.ts'
import { keep, scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import { BatchNorm } from './batchNorm.ts'
import { ForwardConvolution } from './convolution.ts'
import { Linear } from './linear.ts'
import { aModule, type Module } from './module.ts'
import { Identity } from './sequential.ts'

/** What a batch normalization can be folded into: a layer whose weight has one row per output channel. */
type Foldable = ForwardConvolution | Linear

const somePairs: Kind = {
  must: 'be a list of pairs [layer, norm] of paths',
  holds: (value) =>
    anIterable.holds(value) &&
    (!Array.isArray(value) || value.every((pair) => Array.isArray(pair) && pair.length === 2)),
}

/** A normalization, the layer before it, and what messages call them. */
interface Pair {
  layer: Foldable
  norm: BatchNorm
  path: string
}

/**
 * Folds each batch normalization into the layer before it, in place: y = (w·scale)·x + (b·scale + shift); an
 * Identity takes its place.
 *
 * Before it is the convolution or linear layer that stands right before it among the children of the same
 * module; one that stands elsewhere, too, is folded only where the same normalization follows everywhere.
 * Where a model calls its layers in another order, name the pairs: `foldBatchNorm(model, [['layer1.conv',
 * 'layer1.norm']])`.
 * @returns the paths of the normalizations folded
 * @throws ShapeError if the model trains, if one of `pairs` is not such layers, or if their channels differ;
 * the model is then as before
 */
export function foldBatchNorm(
  model: Module,
  pairs?: Iterable<readonly [layer: string, norm: string]>,
): string[] {
  check('foldBatchNorm', 'model', model, aModule)
  if (pairs !== undefined) check('foldBatchNorm', 'pairs', pairs, somePairs)
  const found = pairs ? [...pairs].map(([layer, norm]) => pairAt(model, layer, norm)) : [...neighbours(model)]
  const parameters = scope(() => foldedParameters(found))
  const old = new Set<unknown>()
  for (const [layer, { weight, bias }] of parameters) {
    old.add(layer.weight).add(layer.bias)
    Object.assign(layer, { weight, bias })
  }
  for (const { norm } of found) for (const [, tensor] of norm.ownTensors()) old.add(tensor)
  model.replaceModules(new Map(found.map(({ norm }) => [norm, new Identity()])))
  const held = new Set<unknown>([...model.namedTensors()].map(([, tensor]) => tensor))
  for (const tensor of old) if (tensor instanceof Tensor && !held.has(tensor)) tensor.dispose()
  return [...new Set(found.map(({ path }) => path))]
}

function pairAt(model: Module, layerPath: string, path: string): Pair {
  const [layer, norm] = [model.getModule(layerPath), model.getModule(path)]
  if (isFoldable(layer) && norm instanceof BatchNorm) return { layer, norm, path }
  const kinds = `${layer.typeName} and ${norm.typeName}`
  throw new ShapeError(
    `foldBatchNorm: ${layerPath} must be a convolution or Linear, ${path} a BatchNorm; received ${kinds}`,
  )
}

/** Every batch normalization with a layer of as many channels right before it, wherever the two stand. */
function* neighbours(model: Module): Generator<Pair> {
  const before = new Map<Module, Set<Module | undefined>>()
  const after = new Map<Module, Set<Module | undefined>>()
  const add = (sides: typeof before, module: Module, side: Module | undefined) => {
    sides.set(module, (sides.get(module) ?? new Set()).add(side))
  }
  for (const [, module] of model.namedModules()) {
    const children = [...module.children()].map(([, child]) => child)
    for (const [i, child] of children.entries()) {
      add(before, child, children[i - 1])
      add(after, child, children[i + 1])
    }
  }
  for (const [path, norm] of model.namedModules()) {
    if (!(norm instanceof BatchNorm)) continue
    const layers = [...(before.get(norm) ?? [])].filter((layer) => layer !== undefined && isFoldable(layer))
    const fits = layers.every(
      (layer) => layer.weight.shape[0] === norm.numFeatures && after.get(layer)?.size === 1,
    )
    if (fits && layers.length === before.get(norm)?.size)
      for (const layer of layers) yield { layer, norm, path }
  }
}

function isFoldable(module: Module): module is Foldable {
  return module instanceof ForwardConvolution || module instanceof Linear
}

/** What the layers multiply by and add once the normalizations after them are folded in. */
function foldedParameters(pairs: readonly Pair[]): Map<Foldable, { weight: Tensor; bias: Tensor | null }> {
  const folded = new Map<Foldable, { weight: Tensor; bias: Tensor | null }>()
  for (const { layer, norm, path } of pairs) {
    if (norm.training)
      throw new ShapeError(
        `foldBatchNorm: the model must not train, call eval() first; received ${path} in training`,
      )
    const { weight, bias } = folded.get(layer) ?? layer
    const channels = weight.shape[0]
    if (channels !== norm.numFeatures) {
      throw new ShapeError(
        `foldBatchNorm: ${path} must have ${channels} channels, those of its layer; received ${norm.numFeatures}`,
      )
    }
    const { scale, shift } = norm.folded()
    const rows = cast(weight, 'float32').view([1, channels, weight.numel / channels])
    const scaled = cast(channelAffine(rows, scale, null).view(weight.shape), weight.dtype as FloatDType)
    folded.set(layer, { weight: scaled, bias: bias ? add(mul(cast(bias, 'float32'), scale), shift) : shift })
  }
  for (const { weight, bias } of folded.values())
    for (const tensor of [weight, bias]) if (tensor) keep(tensor)
  return folded
}
