import { ShapeError } from '../core/errors.ts'
import { anIterable, check, type Kind } from '../core/kinds.ts'
import { add, channelAffine, mul } from '../tensor/ops/index.ts'
import { keep, scope } from '../tensor/scope.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { BatchNorm } from './batchNorm.ts'
import { ForwardConvolution } from './convolution.ts'
import { Linear } from './linear.ts'
import { aModule, type Module } from './module.ts'
import { Identity } from './sequential.ts'

/** What a batch normalization can be folded into: a layer whose weight has one row per output channel. */
type Foldable = ForwardConvolution | Linear

const somePairs: Kind = {
  must: 'be a list of pairs [layer, norm] of paths',
  holds: (value) => anIterable.holds(value) && (!Array.isArray(value) || value.every((pair) => Array.isArray(pair) && pair.length === 2)),
}

/**
 * Folds each batch normalization into the layer before it, in place: y = (w·scale)·x + (b·scale + shift); an Identity takes its place.
 *
 * Before it is the convolution or linear layer that stands right before it among the children of the same module. Where a model calls
 * its layers in another order, name the pairs: `foldBatchNorm(model, [['layer1.conv', 'layer1.norm']])`.
 * @returns the paths of the normalizations folded
 * @throws ShapeError if the model trains, if one of `pairs` is not such layers, or if their channels differ
 */
export function foldBatchNorm(model: Module, pairs?: Iterable<readonly [layer: string, norm: string]>): string[] {
  check('foldBatchNorm', 'model', model, aModule)
  if (pairs !== undefined) check('foldBatchNorm', 'pairs', pairs, somePairs)
  const folded: string[] = []
  for (const [layerPath, normPath] of [...(pairs ?? neighbours(model))]) {
    const [layer, norm] = [model.getModule(layerPath), model.getModule(normPath)]
    if (!isFoldable(layer) || !(norm instanceof BatchNorm)) {
      const kinds = `${layer.typeName} and ${norm.typeName}`
      throw new ShapeError(`foldBatchNorm: ${layerPath} must be a convolution or Linear, ${normPath} a BatchNorm; received ${kinds}`)
    }
    if (norm.training) throw new ShapeError(`foldBatchNorm: the model must not train, call eval() first; received ${normPath} in training`)
    fold(layer, norm, normPath)
    model.setModule(normPath, new Identity())
    norm.dispose()
    folded.push(normPath)
  }
  return folded
}

/** Every batch normalization with a layer of as many channels right before it. */
function* neighbours(model: Module): Generator<[layer: string, norm: string]> {
  for (const [path, module] of model.namedModules()) {
    let before: [name: string, child: Module] | undefined
    for (const [name, child] of module.children()) {
      if (before && child instanceof BatchNorm && isFoldable(before[1]) && before[1].weight.shape[0] === child.numFeatures) {
        yield [join(path, before[0]), join(path, name)]
      }
      before = [name, child]
    }
  }
}

const join = (path: string, name: string) => (path ? `${path}.${name}` : name)

function isFoldable(module: Module): module is Foldable {
  return module instanceof ForwardConvolution || module instanceof Linear
}

function fold(layer: Foldable, norm: BatchNorm, path: string): void {
  const channels = layer.weight.shape[0]
  if (channels !== norm.numFeatures) {
    throw new ShapeError(`foldBatchNorm: ${path} must have ${channels} channels, those of its layer; received ${norm.numFeatures}`)
  }
  const { weight, bias } = scope((): { weight: Tensor; bias: Tensor } => {
    const { scale, shift } = norm.folded()
    const rows = layer.weight.view([1, channels, layer.weight.numel / channels])
    const weight = channelAffine(rows, scale, null).view(layer.weight.shape)
    return { weight, bias: layer.bias ? add(mul(layer.bias, scale), shift) : shift }
  })
  layer.weight.dispose()
  layer.bias?.dispose()
  layer.weight = keep(weight)
  layer.bias = keep(bias)
}
