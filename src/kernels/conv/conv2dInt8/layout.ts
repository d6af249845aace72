import type { ConvSizes } from '../conv2d/sizes.ts'

/*
 * A dot product takes four bytes: four channels of one tap of the kernel; where a group has one channel, four
 * rows of one column; where so few that much would be filled up, four neighbours of a row of the weight. What
 * is missing to a multiple of four is filled up with zeros.
 *
 *     w [outChannels, inGroup, kernelHeight, kernelWidth]
 *     inGroup > 1    [outChannels, kernelHeight, kernelWidth, inGroup], or as w is (`keepsOrder`)
 *     inGroup = 1    [outChannels, kernelWidth, kernelHeight]
 */

const quads = (count: number) => Math.ceil(count / 4) * 4

/** Whether columns stay in the order of the weight: of one tap, and where that saves a fifth of all words. */
export function keepsOrder(inGroup: number, kernelHeight: number, kernelWidth: number): boolean {
  const taps = kernelHeight * kernelWidth
  return inGroup > 1 && (taps === 1 || 5 * quads(inGroup * taps) <= 4 * quads(inGroup) * taps)
}

/** Columns of a row of the weight as `conv2dInt8` takes it. */
export function laidColumns(inGroup: number, kernelHeight: number, kernelWidth: number): number {
  const taps = kernelHeight * kernelWidth
  if (keepsOrder(inGroup, kernelHeight, kernelWidth)) return quads(inGroup * taps)
  return inGroup === 1 ? kernelWidth * quads(kernelHeight) : taps * quads(inGroup)
}

/** Where column k of a row [inGroup, kernelHeight, kernelWidth] lies. */
export function laidColumn(inGroup: number, kernelHeight: number, kernelWidth: number, k: number): number {
  if (keepsOrder(inGroup, kernelHeight, kernelWidth)) return k
  const taps = kernelHeight * kernelWidth
  const [channel, tap] = [Math.floor(k / taps), k % taps]
  if (inGroup > 1) return tap * quads(inGroup) + channel
  return (tap % kernelWidth) * quads(kernelHeight) + Math.floor(tap / kernelWidth)
}

/** What of a line, with all its phases, is kept at once (lines.h), and how many taps are listed. */
const [lineRoom, mostTaps] = [1 << 14, 1 << 12]

/** Whether the windows of a convolution are near enough together for `conv2dInt8`. */
export function windowsFit(...sizes: ConvSizes): boolean {
  const [, inChannels, , , , , outWidth, height, width, strideHeight, strideWidth, , , ...rest] = sizes
  const [dilationHeight, dilationWidth, groups] = rest
  const [down, across] = [(height - 1) * dilationHeight, (width - 1) * dilationWidth]
  const colReach = Math.floor(across / strideWidth)
  const reach = Math.floor(down / strideHeight) * (outWidth + colReach) + colReach
  const [rowPhases, colPhases] = [Math.min(down + 1, strideHeight), Math.min(across + 1, strideWidth)]
  const phases = rowPhases * colPhases
  // A single channel has a word for four rows of the kernel, whose lines are listed: at most 256.
  const words =
    inChannels === groups ? colPhases * Math.ceil(height / 4) * (colReach + 256) : phases * (reach + 128)
  return height * width <= mostTaps && Math.max(words, phases * (reach + 128)) <= lineRoom
}
