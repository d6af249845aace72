import type { HostArray } from '../../../core/dtype.ts'
import { roundHalfEven } from '../../../core/halves.ts'
import { codeRange } from '../../quantize/clampInt8/clampInt8.ts'
import { type ConvSizes, eachProduct } from '../conv2d/sizes.ts'
import { laidColumn, laidColumns } from './layout.ts'

/**
 * conv2d of int8 codes by int8 codes: sums are whole numbers, of products that are 0 outside the image; then
 * each step is rounded to float32:
 *
 *     y[b,o,…] = clamp(xScale · wScale[o] · Σ x·w + bias[o], low, high)      float32
 *     y[b,o,…] = rne(clamp(that · (1 / yScale), −128, 127))                  int8
 *
 * The codes are those that `quantize` makes of the floats by the reciprocal of yScale, which is 0 if yScale
 * is.
 * @param x [batch, inChannels, inHeight, inWidth] int8
 * @param xScale [1]
 * @param w tiles (`layout/tilePack`) of int8 codes [outChannels, columns], as layout.ts orders them; not −128
 * where x is, too
 * @param wScale [outChannels]
 * @param bias [outChannels] float32, may be absent
 * @param yScale [1]; absent: y is float32, else int8
 * @param y [batch, outChannels, outHeight, outWidth]
 */
export function conv2dInt8(
  x: Uint8Array,
  xScale: Float32Array,
  w: Uint8Array,
  wScale: Float32Array,
  bias: Float32Array | null,
  yScale: Float32Array | null,
  y: HostArray,
  _yDtype: number,
  low: number,
  high: number,
  ...sizes: ConvSizes
): void {
  const [, inChannels, , , outChannels, outHeight, outWidth, kernelHeight, kernelWidth] = sizes
  const inGroup = inChannels / sizes[15]
  const taps = kernelHeight * kernelWidth
  const columns = laidColumns(inGroup, kernelHeight, kernelWidth)
  const sums = new Float64Array(y.length)
  eachProduct(sizes, (xi, wi, yi) => {
    const [o, k] = [Math.floor(wi / (inGroup * taps)), wi % (inGroup * taps)]
    const column = laidColumn(inGroup, kernelHeight, kernelWidth, k)
    const word = (Math.floor(o / 16) * (columns / 4) + Math.floor(column / 4)) * 16 + (o % 16)
    sums[yi] += int8(x[xi]) * int8(w[4 * word + (column % 4)])
  })
  const { fround } = Math
  const inverse = yScale ? (yScale[0] === 0 ? 0 : fround(1 / yScale[0])) : 1
  const [least, most] = yScale ? codeRange(low, high, inverse) : [low, high]
  for (let i = 0; i < y.length; i++) {
    const o = Math.floor(i / (outHeight * outWidth)) % outChannels
    const value = fround(fround(fround(sums[i]) * fround(xScale[0] * wScale[o])) + (bias?.[o] ?? 0))
    const within = Math.max(least, Math.min(most, fround(value * inverse)))
    y[i] = yScale ? roundHalfEven(within) : within
  }
}

/** The value of the bits of a code. */
function int8(code: number): number {
  return (code << 24) >> 24
}
