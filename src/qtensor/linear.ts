import { ShapeError } from '../core/errors.ts'
import type { QType } from '../core/qtype.ts'
import { showShape } from '../core/shape.ts'
import { checkBias, matmul } from '../tensor/ops/matmul.ts'
import { scope } from '../tensor/scope.ts'
import { checkDType, Tensor } from '../tensor/tensor.ts'
import { matrixShape, type QTensor } from './qtensor.ts'

/** Which kernel multiplies which kind of weight. A kind that is not here is dequantized first: slow, but correct. */
export const matmulKernels: Record<string, 'qmatmul'> = {
  qint2: 'qmatmul',
  qint4: 'qmatmul',
  qint8: 'qmatmul',
  qfloat8_e4m3fn: 'qmatmul',
  qfloat8_e5m2: 'qmatmul',
  qfloat8_e4m3fnuz: 'qmatmul',
}

/** The kernel that multiplies weights of this type, as `inspect` shows it. */
export function kernelFor(qtype: QType): string {
  return matmulKernels[qtype.name] ?? 'dequantize → matmul'
}

/**
 * y = x · wᵀ + bias for a float or a quantized weight.
 * @param x [..., K] float32
 * @param w [N, K]
 * @param bias [N] float32, or null
 * @returns [..., N] float32
 */
export function linear(x: Tensor, w: Tensor | QTensor, bias: Tensor | null = null): Tensor {
  if (w instanceof Tensor) return matmul(x, w, bias)
  const kernel = matmulKernels[w.qtype.name]
  if (!kernel) return scope(() => matmul(x, w.dequantize(), bias))
  checkDType('qmatmul', 'x', x, 'float32')
  const [N, K] = matrixShape(w.shape)
  if (x.size(-1) !== K) {
    const received = `x ${showShape(x.shape)}, w ${showShape(w.shape)} ${w.qtype.name}`
    throw new ShapeError(`qmatmul: columns of x (${x.size(-1)}) must equal columns of w (${K}); ${received}`)
  }
  checkBias('qmatmul', bias, N)
  const y = Tensor.empty(x.device, [...x.shape.slice(0, -1), N])
  const M = x.numel / K
  if (M > 0) x.device.call(kernel, x, w.codeTiles, w.qtype.code, w.scaleTiles, w.shiftTiles, bias, y, M, N, K, w.groupSize)
  return y
}
