import { qfloat8_e4m3fn, qint8 } from '../core/qtype.ts'
import { rowStride } from '../kernels/quantize/quantizeRows/quantizeRows.ts'
import { PendingRows } from '../tensor/pendingRows.ts'
import { scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import { type CodeRange, chooseScales, decodeRows, encodeRows, roundRows, symmetricRange } from './rows.ts'

/**
 * Activations that are quantized anew in every pass, one scale a row (a token): torchao's dynamic
 * quantization, and BitNet's.
 */
export type DynamicActivation =
  | 'int8PerToken'
  | 'int8AbsmaxPerToken'
  | 'int8AsymmetricPerToken'
  | 'float8PerToken'

/**
 * x as int8 codes with their scales and sums (see kernels/quantize/quantizeRows); computed once for all
 * layers that take the same x.
 */
export function quantizeRows(
  x: Tensor,
  groupSize: number,
  levels = 127,
): [codes: Tensor, scale: Tensor, sum: Tensor] {
  return x.derive(`int8 g${groupSize} ${levels}`, () => {
    const [M, K] = rowsOf(x)
    const groups = Math.ceil(K / groupSize)
    const codes = Tensor.empty(x.device, [M, rowStride(K)], 'uint8')
    const scale = Tensor.empty(x.device, [M, groups])
    const sum = Tensor.empty(x.device, [M, groups])
    const into = { codes, scale, sum, rows: M, cols: K, groupSize, levels }
    if (!(x instanceof PendingRows && x.roundInto(into))) x.device.call('quantizeRows', { x, ...into })
    return [codes, scale, sum]
  })
}

/**
 * x as int8 codes but for its columns of outliers (see kernels/quantize/quantizeOutliers); computed once for
 * all layers that take the same x.
 * @param threshold the magnitude from which values are outliers; 0: none are
 */
export function quantizeOutliers(
  x: Tensor,
  threshold: number,
): [codes: Tensor, scale: Tensor, sum: Tensor, outliers: Tensor] {
  return x.derive(`int8 outliers ${threshold}`, () => {
    const [M, K] = rowsOf(x)
    const codes = Tensor.empty(x.device, [M, rowStride(K)], 'uint8')
    const [scale, sum] = [Tensor.empty(x.device, [M]), Tensor.empty(x.device, [M])]
    const outliers = Tensor.empty(x.device, [K], 'uint8')
    const sizes = { rows: M, cols: K, threshold: threshold || Infinity }
    x.device.call('quantizeOutliers', { x, codes, scale, sum, outliers, ...sizes })
    return [codes, scale, sum, outliers]
  })
}

/**
 * What the int8 codes of each row of x stand for, float32, scale = max |x| / half the range (qmin, qmax);
 * computed once for all layers that take x.
 */
export function int8Rows(x: Tensor, { qmin, qmax }: CodeRange): Tensor {
  return derived(x, `int8 ${qmin}`, () => {
    const chosen = chooseScales(x, 'absmax', { qmin, qmax })
    const range = symmetricRange(qint8)
    return decodeRows(encodeRows(x, chosen, qint8, { range, reciprocal: true }), chosen, qint8)
  })
}

/**
 * What the int8 codes of each row of x around a zero point of its own stand for, float32; computed once for
 * all layers that take x.
 */
export function int8AsymmetricRows(x: Tensor): Tensor {
  return derived(x, 'int8 asymmetric', () => {
    // torchao's least scale: the smallest normal float32.
    const choice = { ...qint8, offset: 'zeroPoint', epsilon: 2 ** -126 } as const
    const chosen = chooseScales(x, 'range', choice)
    return decodeRows(encodeRows(x, chosen, qint8, { reciprocal: true }), chosen, qint8)
  })
}

/**
 * What the float8 codes of each row of x stand for, scale = max |x| / 448, float32; computed once for all
 * layers that take x.
 */
export function float8Rows(x: Tensor): Tensor {
  return derived(x, 'float8', () =>
    roundRows(x, chooseScales(x, 'absmax', symmetricRange(qfloat8_e4m3fn)), qfloat8_e4m3fn),
  )
}

function derived(x: Tensor, purpose: string, compute: () => Tensor): Tensor {
  const [rows] = x.derive(`${purpose} per token`, () => [scope(compute)])
  return rows
}

function rowsOf(x: Tensor): [M: number, K: number] {
  const K = x.size(-1)
  return [x.numel / K, K]
}
