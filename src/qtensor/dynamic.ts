import { dtypes } from '../core/dtype.ts'
import { type QType, qfloat8_e4m3fn, qint8 } from '../core/qtype.ts'
import { mappings } from '../kernels/quantize/affineScale/affineScale.ts'
import { rowStride } from '../kernels/quantize/quantizeRows/quantizeRows.ts'
import { scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'

/**
 * Activations that are quantized anew in every pass, one scale a row (a token): torchao's dynamic
 * quantization.
 */
export type DynamicActivation = 'int8PerToken' | 'int8AsymmetricPerToken' | 'float8PerToken'

const float32 = dtypes.float32.code

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
    x.device.call('quantizeRows', { x, codes, scale, sum, rows: M, cols: K, groupSize, levels })
    return [codes, scale, sum]
  })
}

/**
 * What the int8 codes of each row of x around a zero point of its own stand for, float32; computed once for
 * all layers that take x.
 */
export function int8AsymmetricRows(x: Tensor): Tensor {
  return derived(x, 'int8 asymmetric', qint8, (scale, codes, y) => {
    const [M, K] = rowsOf(x)
    const { qmin, qmax, code } = qint8
    const zeroPoint = Tensor.empty(x.device, [M], 'int8')
    // torchao's least scale: the smallest normal float32.
    x.device.call('affineScale', {
      x,
      dtype: float32,
      mapping: mappings.asymmetric,
      scale,
      zeroPoint,
      rows: M,
      cols: K,
      qmin,
      qmax,
      offset: 0,
      epsilon: 2 ** -126,
    })
    x.device.call('affineQuantize', {
      x,
      dtype: float32,
      scale,
      zeroPoint,
      codes,
      rows: M,
      cols: K,
      qmin,
      qmax,
      offset: 0,
      reciprocal: 1,
    })
    x.device.call('affineDequantize', {
      codes,
      qtype: code,
      scale,
      zeroPoint,
      y,
      dtype: float32,
      rows: M,
      cols: K,
    })
  })
}

/**
 * What the float8 codes of each row of x stand for, scale = max |x| / 448, float32; computed once for all
 * layers that take x.
 */
export function float8Rows(x: Tensor): Tensor {
  return derived(x, 'float8', qfloat8_e4m3fn, (scale, codes, y) => {
    const [M, K] = rowsOf(x)
    const { qmax, code } = qfloat8_e4m3fn
    x.device.call('absmaxScale', { x, dtype: float32, scale, rows: M, cols: K, qmax })
    x.device.call('quantize', { x, dtype: float32, scale, shift: null, codes, rows: M, cols: K, qtype: code })
    x.device.call('dequantize', {
      codes,
      qtype: code,
      scale,
      shift: null,
      y,
      dtype: float32,
      rows: M,
      cols: K,
    })
  })
}

function derived(
  x: Tensor,
  purpose: string,
  qtype: QType,
  compute: (scale: Tensor, codes: Tensor, y: Tensor) => void,
): Tensor {
  const [rows] = x.derive(`${purpose} per token`, () => {
    const y = scope(() => {
      const result = Tensor.empty(x.device, x.shape)
      compute(Tensor.empty(x.device, [rowsOf(x)[0]]), Tensor.empty(x.device, x.shape, qtype.dtype), result)
      return result
    })
    return [y]
  })
  return rows
}

function rowsOf(x: Tensor): [M: number, K: number] {
  const K = x.size(-1)
  return [x.numel / K, K]
}
