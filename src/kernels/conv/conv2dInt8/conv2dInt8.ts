import { roundHalfEven } from '../../../core/halves.ts'
import { type ConvSizes, eachProduct } from '../conv2d/sizes.ts'
import { laidColumn, laidColumns } from './layout.ts'

/**
 * conv2d of int8 codes by int8 codes: sums are whole numbers, of products that are 0 outside the image; then
 * each step is rounded to float32:
 *
 *     y[b,o,…] = clamp(xScale · wScale[o] · Σ x·w + bias[o] + addend[b,o,…], low, high)      float32
 *     codes[b,o,…] = rne(clamp(y[b,o,…] · (1 / codeScale), −128, 127))                       int8
 *
 * Floats are asked for, or codes, or both. The codes are those that `quantize` makes of the floats by the
 * reciprocal of codeScale, which is 0 if codeScale is.
 * @param x [batch, inChannels, inHeight, inWidth] int8
 * @param xScale [1]
 * @param w tiles (`layout/tilePack`) of int8 codes [outChannels, columns], as layout.ts orders them; not −128
 * where x is, too
 * @param wScale [outChannels]
 * @param bias [outChannels] float32, may be absent
 * @param addend [batch, outChannels, outHeight, outWidth] float32, may be absent
 * @param y [batch, outChannels, outHeight, outWidth] float32, may be absent
 * @param codeScale [1]; absent as the codes are
 * @param codes [batch, outChannels, outHeight, outWidth] int8, may be absent
 */
export function conv2dInt8(
  x: Uint8Array,
  xScale: Float32Array,
  w: Uint8Array,
  wScale: Float32Array,
  bias: Float32Array | null,
  addend: Float32Array | null,
  low: number,
  high: number,
  y: Float32Array | null,
  codeScale: Float32Array | null,
  codes: Uint8Array | null,
  ...sizes: ConvSizes
): void {
  const [batch, inChannels, , , outChannels, outHeight, outWidth, kernelHeight, kernelWidth] = sizes
  const inGroup = inChannels / sizes[15]
  const taps = kernelHeight * kernelWidth
  const columns = laidColumns(inGroup, kernelHeight, kernelWidth)
  const sums = new Float64Array(batch * outChannels * outHeight * outWidth)
  eachProduct(sizes, (xi, wi, yi) => {
    const [o, k] = [Math.floor(wi / (inGroup * taps)), wi % (inGroup * taps)]
    const column = laidColumn(inGroup, kernelHeight, kernelWidth, k)
    const word = (Math.floor(o / 16) * (columns / 4) + Math.floor(column / 4)) * 16 + (o % 16)
    sums[yi] += int8(x[xi]) * int8(w[4 * word + (column % 4)])
  })
  const { fround } = Math
  const inverse = codeScale && codeScale[0] !== 0 ? fround(1 / codeScale[0]) : 0
  for (const [i, sum] of sums.entries()) {
    const o = Math.floor(i / (outHeight * outWidth)) % outChannels
    const ofSum = fround(fround(fround(sum) * fround(xScale[0] * wScale[o])) + (bias?.[o] ?? 0))
    const value = Math.max(low, Math.min(high, addend ? fround(ofSum + addend[i]) : ofSum))
    if (y) y[i] = value
    // What is not a number has the code of 0.
    if (codes) codes[i] = Math.max(-128, Math.min(127, roundHalfEven(fround(value * inverse) || 0)))
  }
}

/** The value of the bits of a code. */
function int8(code: number): number {
  return (code << 24) >> 24
}
