import { dtypes } from '../../core/dtype.ts'
import { checkDType, checkShape, Tensor } from '../tensor.ts'

/**
 * y = x / √(mean(x²) + ε) · weight over the last dimension.
 * Source: Zhang, Sennrich, "Root Mean Square Layer Normalization", 2019, equation 4.
 * @param x [..., C] float32
 * @param weight [C] float32, float16 or bfloat16
 */
export function rmsNorm(x: Tensor, weight: Tensor, epsilon: number): Tensor {
  const cols = x.size(-1)
  checkDType('rmsNorm', 'x', x, 'float32')
  checkDType('rmsNorm', 'weight', weight, 'float32', 'float16', 'bfloat16')
  checkShape('rmsNorm', 'weight', weight, [cols])
  const y = Tensor.empty(x.device, x.shape)
  if (x.numel > 0) x.device.call('rmsNorm', x, weight, dtypes[weight.dtype].code, epsilon, y, x.numel / cols, cols)
  return y
}

/**
 * y = (x − mean) / √(variance + ε) · weight + bias over the last dimension.
 * Source: Ba, Kiros, Hinton, "Layer Normalization", 2016, equation 3.
 * @param x [..., C] float32
 * @param weight,bias [C] float32, or null for 1 and 0
 */
export function layerNorm(x: Tensor, weight: Tensor | null, bias: Tensor | null, epsilon: number): Tensor {
  const cols = x.size(-1)
  checkDType('layerNorm', 'x', x, 'float32')
  for (const [name, tensor] of Object.entries({ weight, bias })) {
    if (!tensor) continue
    checkDType('layerNorm', name, tensor, 'float32')
    checkShape('layerNorm', name, tensor, [cols])
  }
  const y = Tensor.empty(x.device, x.shape)
  if (x.numel > 0) x.device.call('layerNorm', x, weight, bias, epsilon, y, x.numel / cols, cols)
  return y
}
