import { Embedding } from '../nn/embedding.ts'
import { Linear } from '../nn/linear.ts'
import type { Module } from '../nn/module.ts'
import { QEmbedding } from '../nn/qembedding.ts'
import { QLinear } from '../nn/qlinear.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import { keep } from '../tensor/scope.ts'
import type { Tensor } from '../tensor/tensor.ts'

/**
 * Replaces, in place, the quantized twins by the float layers whose weights their codes stand for. What quantization lost stays lost.
 * @returns the paths of the modules replaced
 */
export function dequantize(model: Module): string[] {
  const floats = new Map<QTensor, Tensor>()
  const replaced: string[] = []
  for (const [path, module] of [...model.namedModules()]) {
    if (!(module instanceof QLinear || module instanceof QEmbedding)) continue
    const { weight } = module
    let float = weight instanceof QTensor ? floats.get(weight) : weight
    if (!float && weight instanceof QTensor) {
      float = keep(weight.dequantize())
      floats.set(weight, float)
    }
    if (float) model.setModule(path, module instanceof QLinear ? floatLinear(module, float) : floatEmbedding(float))
    replaced.push(path)
  }
  for (const weight of floats.keys()) weight.dispose()
  return replaced
}

function floatLinear({ inFeatures, outFeatures, bias }: QLinear, weight: Tensor): Linear {
  const linear = new Linear(inFeatures, outFeatures, { bias: false })
  linear.weight = weight
  linear.bias = bias
  return linear
}

function floatEmbedding(weight: Tensor): Embedding {
  const embedding = new Embedding(weight.shape[0], weight.shape[1])
  embedding.weight = weight
  return embedding
}
