import type { FloatDType } from '../core/dtype.ts'
import { qint2 } from '../core/qtypes.ts'
import { numel } from '../core/shape.ts'
import { abs, cast, clamp, div, mean } from '../tensor/ops/index.ts'
import { Tensor } from '../tensor/tensor.ts'
import { matrixShape, type WeightParts } from './parts.ts'
import { encodeRows } from './rows.ts'

/** The code that stands for 0 in a ternary weight; the others are one less and one more. */
export const ternaryZero = 1

/**
 * A ternary weight w = t · m of floats x: t = clamp(rne(x / m), −1, 1), m = mean |x|, at least 1e-5; m is
 * rounded to x's dtype.
 * Source: Ma et al., "The Era of 1-bit LLMs", 2024; transformers 5, integrations/bitnet.py, `WeightQuant`.
 */
export function ternaryParts(x: Tensor): WeightParts {
  const floats = cast(x, 'float32')
  const size = clamp(mean(abs(floats)).view([1]), 1e-5, Number.MAX_VALUE)
  const zeroPoint = Tensor.fromNumbers(x.device, [ternaryZero], [1], 'uint8')
  const range = { qmin: 0, qmax: 2 }
  const line = floats.view([1, numel(x.shape)])
  const codes = encodeRows(line, { scale: size, zeroPoint }, qint2, { range, reciprocal: true })
  // The library divides by 1 / m.
  const scale = cast(div(1, div(1, size)), x.dtype as FloatDType)
  return {
    ...ternaryKind(x.shape),
    dtype: x.dtype as FloatDType,
    codes: codes.view(matrixShape(x.shape)),
    scale: { values: scale.view([1, 1]) },
  }
}

/** What all ternary weights share: one scale, and one zero point. */
export function ternaryKind(
  shape: WeightParts['shape'],
): Pick<WeightParts, 'type' | 'shape' | 'block' | 'offset'> {
  const [rows, columns] = matrixShape(shape)
  return {
    type: qint2,
    shape,
    block: { kind: 'tile', rows, columns },
    offset: { kind: 'zeroPoint', value: ternaryZero },
  }
}
