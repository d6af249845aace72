import { dtypes } from '../core/dtype.ts'
import { DTypeError, ShapeError } from '../core/errors.ts'
import { type Kind, oneOf } from '../core/kinds.ts'
import { type QType, qint8 } from '../core/qtype.ts'
import { showShape } from '../core/shape.ts'
import { rowStride } from '../kernels/quantize/quantizeRows/quantizeRows.ts'
import { checkBias, matmulTransposed } from '../tensor/ops/matmulTransposed.ts'
import { scope } from '../tensor/scope.ts'
import { noGrad } from '../tensor/tape.ts'
import { checkDType, Tensor } from '../tensor/tensor.ts'
import { QActivation } from './activation.ts'
import { type DynamicActivation, float8Rows, int8AsymmetricRows, quantizeRows } from './dynamic.ts'
import { matrixShape, type QTensor, weightArguments } from './qtensor.ts'

/**
 * The precision of matrix products with quantized weights: `float32` multiplies what the codes stand for, the
 * exact path; `int8` rounds each row of x to int8, with a scale per group, and multiplies integers, the fast
 * path. The others are torchao's, of its recipes: `int8PerToken` multiplies integers, too, with one scale for
 * a whole row of x; `int8AsymmetricPerToken` (with a zero point) and `float8PerToken` round x, and multiply
 * floats.
 */
export type ComputeDType = 'float32' | 'int8' | DynamicActivation

const computeDtypes: readonly ComputeDType[] = [
  'float32',
  'int8',
  'int8PerToken',
  'int8AsymmetricPerToken',
  'float8PerToken',
]

/** The name of a precision of products. */
export const aComputeDType: Kind = { ...oneOf(...computeDtypes), error: DTypeError }

/**
 * Which kernel multiplies which kind of weight, by compute dtype. A kind that is not here is dequantized
 * first: slow, but correct.
 */
export const matmulKernels: Record<string, { float32: 'qmatmul'; int8?: 'qmatmulInt8' }> = {
  qint2: { float32: 'qmatmul', int8: 'qmatmulInt8' },
  qint4: { float32: 'qmatmul', int8: 'qmatmulInt8' },
  qint5: { float32: 'qmatmul', int8: 'qmatmulInt8' },
  qint8: { float32: 'qmatmul', int8: 'qmatmulInt8' },
  qfloat8_e4m3fn: { float32: 'qmatmul' },
  qfloat8_e5m2: { float32: 'qmatmul' },
  qfloat8_e4m3fnuz: { float32: 'qmatmul' },
}

/**
 * The kernel that multiplies weights of this type, as `inspect` shows it; types without an int8 kernel
 * compute in float32.
 */
export function kernelFor(qtype: QType, computeDtype: ComputeDType = 'float32'): string {
  const kernels = matmulKernels[qtype.name]
  const integer = computeDtype === 'int8' || computeDtype === 'int8PerToken'
  return (integer ? kernels?.int8 : undefined) ?? kernels?.float32 ?? 'dequantize → matmul'
}

/**
 * What products with weights of this type are computed in when they are to be in `computeDtype`: float32
 * where no kernel multiplies integers.
 */
export function computedDtype(qtype: QType, computeDtype: ComputeDType): ComputeDType {
  const integer = computeDtype === 'int8' || computeDtype === 'int8PerToken'
  return integer && !matmulKernels[qtype.name]?.int8 ? 'float32' : computeDtype
}

/**
 * y = x · wᵀ + bias for a float or a quantized weight.
 * @param x [..., K] float32
 * @param w [N, K]
 * @param bias [N] float32, or null
 * @returns [..., N] float32
 */
export function linear(
  x: Tensor,
  w: Tensor | QTensor,
  bias: Tensor | null = null,
  computeDtype: ComputeDType = 'float32',
): Tensor {
  checkDType('linear', 'x', x, 'float32')
  const [N, K] = matrixShape(w.shape)
  if (x.size(-1) !== K) {
    const type = w instanceof Tensor ? w.dtype : w.qtype.name
    const received = `x ${showShape(x.shape)}, w ${showShape(w.shape)} ${type}`
    throw new ShapeError(`linear: columns of x (${x.size(-1)}) must equal columns of w (${K}); ${received}`)
  }
  checkBias('linear', bias, N)
  if (w instanceof Tensor) return matmulTransposed(x, w, bias)
  const kernels = matmulKernels[w.qtype.name]
  if (computeDtype === 'float8PerToken') return linear(float8Rows(x), w, bias)
  if (computeDtype === 'int8AsymmetricPerToken') return linear(int8AsymmetricRows(x), w, bias)
  // Kernels give int8 no offset, and take groups of 32 columns or more.
  if (!kernels || (w.offsetTiles && !w.qtype.unsigned) || (w.groupSize === 1 && K > 1))
    return scope(() => matmulTransposed(x, w.dequantize(), bias))
  const y = Tensor.empty(x.device, [...x.shape.slice(0, -1), N])
  const M = x.numel / K
  if (M === 0) return y
  if (x instanceof QActivation && isInteger(x, w)) {
    integerLinear(x, w, bias, y, [M, N, K])
    return y
  }
  const product = { ...weightArguments(w), bias, y, M, N, K }
  if (computeDtype !== 'float32' && kernels.int8) {
    const perToken = computeDtype === 'int8PerToken'
    // A group of x lies in one of w, and its sums in 32 bits.
    const xGroupSize = Math.min(w.groupSize, perToken ? 65536 : activationGroupSize)
    const [codes, xScale, xSum] = quantizeRows(x, xGroupSize, perToken ? 127.5 : 127)
    x.device.call(kernels.int8, { x: codes, xScale, xSum, xGroupSize, ...product })
  } else {
    x.device.call(kernels.float32, { x, ...product })
  }
  return y
}

/** Whether a product runs in integers: int8 codes on both sides, a scale a row of w, and sums that fit. */
function isInteger(x: QActivation, w: QTensor): boolean {
  const [, K] = matrixShape(w.shape)
  return x.qtype === qint8 && w.qtype === qint8 && w.groupSize === K && K <= 65536
}

/**
 * y[m,n] = (Σₖ q[m,k] · p[n,k]) · (scale · wScale[n]) + bias[n]: integers, then float32, in that order.
 * Source: optimum-quanto 0.2.7, library/qbytes_mm.py, `qbytes_int_mm`.
 */
function integerLinear(
  x: QActivation,
  w: QTensor,
  bias: Tensor | null,
  y: Tensor,
  [M, N, K]: readonly [number, number, number],
): void {
  const { device } = x
  noGrad(() =>
    scope(() => {
      const rows = Tensor.empty(device, [M, rowStride(K)], 'uint8')
      const sum = Tensor.empty(device, [M])
      device.call('int8Rows', { codes: x.codes, padded: rows, sum, rows: M, cols: K })
      const one = Tensor.empty(device, [M])
      device.call('fill', { y: one, value: 1, count: M })
      const rowsInTiles = 16 * Math.ceil(N / 16)
      const wScale = Tensor.empty(device, [rowsInTiles])
      const scale = Tensor.empty(device, [rowsInTiles])
      const float32 = dtypes.float32.code
      device.call('cast', {
        x: w.scaleTiles,
        xDtype: dtypes[w.scaleDtype].code,
        y: wScale,
        yDtype: float32,
        count: rowsInTiles,
      })
      device.call('scaleBy', { x: wScale, factor: x.scale, y: scale, count: rowsInTiles })
      device.call('qmatmulInt8', {
        x: rows,
        xScale: one,
        xSum: sum,
        xGroupSize: K,
        w: w.codeTiles,
        qtype: qint8.code,
        scale,
        offset: null,
        scaleDtype: float32,
        offsetDtype: float32,
        bias,
        y,
        M,
        N,
        K,
        groupSize: K,
      })
    }),
  )
}

/**
 * Columns of x that share a scale: 32, as few as the kernels take, since a group's largest value sets the
 * error of all of it (SmolLM2-135M at int8 weights: perplexity + 1.1 % with groups of 128). The groups of w
 * are multiples of 32, or the row.
 */
const activationGroupSize = 32
