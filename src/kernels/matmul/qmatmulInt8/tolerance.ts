import type { KernelArg } from '../../case.ts'
import { rowStride } from '../../quantize/quantizeRows/quantizeRows.ts'
import { type GroupEncoding, type TiledWeights, untileScales, untileShifts } from '../qmatmul/groupValues.ts'
import { untileCodes } from '../qmatmul/qmatmul.ts'

type Floats = Float32Array
type Args = [
  x: Uint8Array,
  xScale: Floats,
  xSum: Floats,
  xGroupSize: number,
  ...TiledWeights,
  Floats | null,
  Floats,
  number,
  number,
  number,
  number,
  Int32Array | null,
  ...GroupEncoding,
]

/**
 * 4·ε·(|bias| + Σ |xScale|·(|scale · dot| + |shift · sum|)), summed over pieces of 32 columns, at whose ends
 * a device may divide a group: the integers are exact; each term has five roundings of ε/2, and errors of
 * random sign add up to no more than a few.
 */
export function tolerance(args: readonly KernelArg[]): Float64Array {
  const [
    x,
    xScale,
    ,
    xGroupSize,
    w,
    qtype,
    scale,
    offset,
    scaleDtype,
    offsetDtype,
    bias,
    ,
    M,
    N,
    K,
    groupSize,
    ,
    ...encoding
  ] = args as Args
  const [groups, xGroups, stride] = [Math.ceil(K / groupSize), Math.ceil(K / xGroupSize), rowStride(K)]
  const codes = untileCodes(w, qtype, N, K)
  const values = new Int8Array(x.buffer, x.byteOffset, x.length)
  const scales = untileScales(scale, scaleDtype, N, groups, encoding)
  const shifts = untileShifts(offset, offsetDtype, scales, N, groups, encoding)
  return Float64Array.from({ length: M * N }, (_, i) => {
    const [m, n] = [Math.floor(i / N), i % N]
    let sum = Math.abs(bias?.[n] ?? 0)
    for (let g = 0; g < xGroups; g++) {
      const at = n * groups + Math.floor((g * xGroupSize) / groupSize)
      const groupEnd = Math.min(K, (g + 1) * xGroupSize)
      for (let start = g * xGroupSize; start < groupEnd; start += 32) {
        let [dot, total] = [0, 0]
        for (let k = start; k < Math.min(groupEnd, start + 32); k++) {
          dot += codes[n * K + k] * values[m * stride + k]
          total += values[m * stride + k]
        }
        sum += Math.abs(xScale[m * xGroups + g]) * (Math.abs(scales[at] * dot) + Math.abs(shifts[at] * total))
      }
    }
    return 4 * 2 ** -23 * sum
  })
}
