import { dtypes } from '../core/dtype.ts'
import { ShapeError } from '../core/errors.ts'
import { qint8 } from '../core/qtype.ts'
import { numel, showShape } from '../core/shape.ts'
import { rowStride } from '../kernels/quantize/quantizeRows/quantizeRows.ts'
import { op } from '../tensor/op.ts'
import { expand } from '../tensor/ops/broadcast.ts'
import { columnSum } from '../tensor/ops/columnSum.ts'
import { cast } from '../tensor/ops/elementwise.ts'
import { checkBias, gemm, matmulInto, matmulTransposed } from '../tensor/ops/matmulTransposed.ts'
import { scope } from '../tensor/scope.ts'
import { needsGrad, noGrad } from '../tensor/tape.ts'
import { checkDType, Tensor } from '../tensor/tensor.ts'
import { QActivation } from './activation.ts'
import { type ComputeDType, defaultOutlierThreshold, fewRows } from './computeDtype.ts'
import { float8Rows, int8AsymmetricRows, int8Rows, quantizeOutliers, quantizeRows } from './dynamic.ts'
import { matrixShape } from './parts.ts'
import { permuteColumns } from './permuteColumns.ts'
import { chooseProduct, float32Scale, type Product, weightArguments } from './product.ts'
import type { QTensor } from './qtensor.ts'
import { symmetricRange } from './rows.ts'

/**
 * y = x · wᵀ + bias for a float or a quantized weight; dx = dy · w, dbias = Σ dy, and none for a quantized
 * weight. Where one of these gradients is asked for, x stays float, whatever computeDtype says.
 * @param x [..., K] float32
 * @param w [N, K]
 * @param bias [N] float32, or null
 * @returns [..., N] float32
 */
export const linear = op(
  'linear(x, weight, bias, computeDtype, outlierThreshold)',
  (
    x: Tensor,
    w: Tensor | QTensor,
    bias: Tensor | null = null,
    computeDtype: ComputeDType = 'float32',
    outlierThreshold: number = defaultOutlierThreshold,
  ): Tensor => {
    checkDType('linear', 'x', x, 'float32')
    const [N, K] = matrixShape(w.shape)
    if (x.size(-1) !== K) {
      const type = w instanceof Tensor ? w.dtype : w.qtype.name
      const received = `x ${showShape(x.shape)}, w ${showShape(w.shape)} ${type}`
      throw new ShapeError(`linear: columns of x (${x.size(-1)}) must equal columns of w (${K}); ${received}`)
    }
    checkBias('linear', bias, N)
    if (w instanceof Tensor) return matmulTransposed(x, w, bias)
    if (needsGrad(x) || needsGrad(bias)) return trainedLinear(x, w, bias)
    const product = chooseProduct(w.facts, x instanceof QActivation ? x.qtype : null, computeDtype)
    return quantizedLinear(x, w, bias, product, outlierThreshold)
  },
)

/**
 * The product of floats with a quantized weight that gradients pass through; no floats of the weight are
 * kept.
 */
const trainedLinear = op(
  'trainedLinear(x, weight, bias)',
  (x: Tensor, w: QTensor, bias: Tensor | null): Tensor =>
    quantizedLinear(x, w, bias, chooseProduct(w.facts, null, 'float32')),
  ({ dy, needs }, x, w, bias) => [
    needs(x) ? quantizedMatmul(dy, w).view(x.shape) : null,
    null,
    needs(bias) ? columnSum(dy, -1) : null,
  ],
)

/** x [..., N] · w [N, K] → [M, K] float32; the kernel dequantizes w panel by panel. */
function quantizedMatmul(x: Tensor, w: QTensor): Tensor {
  const [N, K] = matrixShape(w.shape)
  const M = numel(x.shape.slice(0, -1))
  return scope(() => {
    const { kernel } = chooseProduct(w.facts, null, 'float32')
    if (kernel === 'dequantize → matmul') return gemm(x.view([1, M, N]), w.dequantize().view([1, N, K]))
    const y = Tensor.empty(x.device, [M, K])
    if (y.numel > 0)
      x.device.call('qmatmul', {
        x,
        ...weightArguments(w),
        bias: null,
        y,
        M,
        N,
        K,
        ...floatProduct('float32', 1),
      })
    return w.order ? permuteColumns(y, w.order, 'back') : y
  })
}

function quantizedLinear(
  x: Tensor,
  w: QTensor,
  bias: Tensor | null,
  product: Product,
  outlierThreshold = 0,
): Tensor {
  const [N, K] = matrixShape(w.shape)
  return scope(() => {
    const y = Tensor.empty(x.device, [...x.shape.slice(0, -1), N])
    const sizes = { bias, y, M: x.numel / K, N, K }
    if (sizes.M > 0) quantizedLinearInto(x, w, product, sizes, outlierThreshold)
    return y
  })
}

/** Writes the product with a quantized weight to `sizes.y`, or those of its rows that are in the span. */
export function quantizedLinearInto(
  x: Tensor,
  w: QTensor,
  product: Product,
  sizes: Sizes,
  outlierThreshold = 0,
): void {
  const dtype = product.x === 'bfloat16' && sizes.M > fewRows ? 'bfloat16' : 'float32'
  const rounded = roundedRows(x, product)
  const ordered = w.order ? orderedColumns(rounded, w.order) : rounded
  if (product.kernel === 'dequantize → matmul')
    matmulInto(cast(cast(rounded, dtype), 'float32'), cast(w.dequantize(), dtype), sizes)
  else if (product.kernel === 'qmatmul')
    x.device.call('qmatmul', { x: ordered, ...weightArguments(w), ...sizes, ...floatProduct(dtype) })
  else if (product.x === 'codes') staticLinear(ordered as QActivation, w, sizes)
  else if (product.x === 'outliers') outlierLinear(ordered, w, outlierThreshold, sizes)
  else dynamicLinear(ordered, w, product.x, sizes)
}

/** What `qmatmul` is told beside. */
function floatProduct(dtype: 'float32' | 'bfloat16', transposed = 0) {
  return { transposed, computeDtype: dtypes[dtype].code }
}

/** What floats become that are to be rounded to a row's codes. */
function roundedRows(x: Tensor, product: Product): Tensor {
  if (product.x === 'float8') return float8Rows(x)
  const inKernel = product.kernel === 'qmatmulInt8'
  if (product.x === 'rows' && !inKernel) return int8Rows(x, qint8)
  if (product.x === 'absmaxRows' && !inKernel) return int8Rows(x, symmetricRange(qint8))
  return product.x === 'asymmetric' ? int8AsymmetricRows(x) : x
}

/** The columns of x in the order of stored columns; codes stay codes. */
function orderedColumns(x: Tensor, order: Tensor): Tensor {
  return x instanceof QActivation ? x.withCodes(permuteColumns(x.codes, order)) : permuteColumns(x, order)
}

interface Sizes {
  bias: Tensor | null
  y: Tensor
  M: number
  N: number
  K: number
  /** [2] int32: the first row that is computed, and the one behind the last; default: all are. */
  span?: Tensor
}

/** Products of integers: x is rounded to int8 with a scale a group of columns, or a row. */
function dynamicLinear(x: Tensor, w: QTensor, rounded: Product['x'], sizes: Sizes): void {
  const xGroupSize = rounded === 'groups' ? activationGroup(w) : w.groupSize
  const [codes, xScale, xSum] = quantizeRows(x, xGroupSize, rounded === 'rows' ? 127.5 : 127)
  x.device.call('qmatmulInt8', { x: codes, xScale, xSum, xGroupSize, ...weightArguments(w), ...sizes })
}

/** Integers where x has no outliers in a column, and floats where it has some. */
function outlierLinear(x: Tensor, w: QTensor, threshold: number, sizes: Sizes): void {
  const { y, M, N, K } = sizes
  const [codes, xScale, xSum, outliers] = quantizeOutliers(x, threshold)
  x.device.call('qmatmulInt8', { x: codes, xScale, xSum, xGroupSize: K, ...weightArguments(w), ...sizes })
  if (threshold === 0) return
  x.device.call('addOutliers', { x, outliers, w: w.codeTiles, scale: float32Scale(w), y, M, N, K })
}

/**
 * Columns of x that share a scale: a group of x lies in one of w, and the kernel takes 32 columns at a time,
 * or 16.
 */
function activationGroup({ groupSize, shape }: QTensor): number {
  if (groupSize % 32 !== 0 && groupSize < matrixShape(shape)[1]) return 16
  return Math.min(groupSize, activationGroupSize)
}

/**
 * y[m,n] = (Σₖ q[m,k] · p[n,k]) · (scale · wScale[n]) + bias[n]: integers, then float32, in that order.
 * Source: optimum-quanto 0.2.7, library/qbytes_mm.py, `qbytes_int_mm`.
 */
function staticLinear(x: QActivation, w: QTensor, sizes: Sizes): void {
  const { device } = x
  const { M, K } = sizes
  noGrad(() => {
    const rows = Tensor.empty(device, [M, rowStride(K)], 'uint8')
    const xSum = Tensor.empty(device, [M])
    device.call('padRows', { codes: x.codes, padded: rows, sum: xSum, rows: M, cols: K })
    const xScale = M === 1 ? x.scale : expand(x.scale, [M])
    device.call('qmatmulInt8', { x: rows, xScale, xSum, xGroupSize: K, ...weightArguments(w), ...sizes })
  })
}

/**
 * Columns of x that share a scale: 32, as few as the kernels take, since a group's largest value sets the
 * error of all of it (SmolLM2-135M at int8 weights: perplexity + 1.1 % with groups of 128).
 */
const activationGroupSize = 32
