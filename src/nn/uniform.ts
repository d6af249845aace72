import type { Random } from '../core/random.ts'
import type { Device } from '../devices/device.ts'
import { keep } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'

/**
 * A tensor of `parameter`'s shape and dtype with values uniform in [−bound, bound), which takes its place.
 */
export function uniform(parameter: Tensor, device: Device, random: Random, bound: number): Tensor {
  const values = Float64Array.from({ length: parameter.numel }, () => bound * (2 * random.uniform() - 1))
  const filled = keep(Tensor.fromNumbers(device, values, parameter.shape, parameter.dtype))
  filled.requiresGrad = parameter.requiresGrad
  parameter.dispose()
  return filled
}

/**
 * Weight and bias as PyTorch's linear layers and convolutions start: uniform within 1 / √fanIn.
 * Source: He et al., "Delving deep into rectifiers", 2015, with a = √5, as PyTorch's `kaiming_uniform_` is
 * called there.
 */
export function resetLinear(
  layer: { weight: Tensor; bias: Tensor | null },
  fanIn: number,
  device: Device,
  random: Random,
): void {
  const bound = fanIn > 0 ? 1 / Math.sqrt(fanIn) : 0
  layer.weight = uniform(layer.weight, device, random, bound)
  layer.bias &&= uniform(layer.bias, device, random, bound)
}
