import type { HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode, encodeFloat, roundHalfEven, roundTo, toNumbers } from '../../../core/halves.ts'

/** How a group's range becomes its scale and offset; by their numbers in the kernels' ABI. */
export const gridRules = { absmax: 0, symmetric: 1, zeroPoint: 2, shift: 3 } as const
export type GridRule = keyof typeof gridRules

/**
 * Quantizes the columns of a weight one after the other, in `order`; what one loses the later ones make up
 * for:
 *
 *     q = the code of w[i],  e = (w[i] − v(q)) / F[i, i]
 *     w[j] ← w[j] − e·F[j, i] + w[i]·D[j, i]                                                for all j > i
 *
 * for each row w of the weight; F = `factor` and D = `drift`, of the columns in that order. Columns outside
 * of a block of `blockSize` columns are moved once for the whole block. A column without inputs, of which
 * the diagonal of h is 0, is 0. A group's scale is chosen before the first block (`early`), or when the
 * block begins in which its first column is solved, from its weights as they are then.
 *
 *     absmax     scale = 2·max |w| / (qmax − qmin)
 *     symmetric  the same, z = (qmin + qmax + 1) / 2; half that scale where no weight is below 0
 *     zeroPoint  scale = (max − min) / (qmax − qmin), z = qmin + rne(−min / scale), of a range that holds 0
 *     shift      scale = (max − min) / (qmax − qmin), shift = −min
 *
 * A group of zeros has the range −1 … 1. With `steps` the range is shrunk step by step, to 1 − `shrink` of
 * it, and the one is taken of which the squared error, weighed by the diagonal of h, is the least, with the
 * zero points on both sides of −min / scale; `symmetric` knows no groups without negative weights then.
 * Source: Frantar et al., "GPTQ", 2023, algorithm 1; GPTQModel 7.7, quantization/gptq.py and quantizer.py;
 * Li et al., "GPTAQ", 2025, for D.
 * @param weight [rows, cols] float32, float16 or bfloat16
 * @param h [cols, cols] float32, of which the diagonal is read, or null: all columns weigh 1
 * @param factor [cols, cols] float32, lower triangular, as `inverseFactor` makes it, or null: nothing is
 * made up for
 * @param drift [cols, cols] float32, lower triangular with zeros on the diagonal, or null
 * @param order [cols] int32, and `places` its inverse, as `solvingOrder` makes them
 * @param codes [rows, cols] one byte each
 * @param scale [rows, ⌈cols / groupSize⌉] in scaleDtype, to which scales are rounded before codes are chosen
 * @param shift as scale, of the rule `shift`
 * @param zeroPoint of the same shape, one byte each, of the rules `symmetric` and `zeroPoint`
 * @param work bytes as many as `gptqSweepBytes` says
 * @param rule one of `gridRules`
 * @param stored 1: groups are of the columns in the order they are solved in, and so do codes stand
 * @param early 1: all scales are chosen first
 */
export function gptqSweep(
  weight: HostArray,
  dtype: number,
  h: Float32Array | null,
  factor: Float32Array | null,
  drift: Float32Array | null,
  order: Int32Array,
  places: Int32Array,
  codes: Uint8Array,
  scale: HostArray,
  shift: HostArray | null,
  zeroPoint: Uint8Array | null,
  scaleDtype: number,
  _work: Uint8Array | null,
  rows: number,
  cols: number,
  groupSize: number,
  blockSize: number,
  rule: number,
  qmin: number,
  qmax: number,
  stored: number,
  early: number,
  steps: number,
  shrink: number,
): void {
  const numbers = toNumbers(dtypeOfCode(dtype), weight)
  const groups = Math.ceil(cols / groupSize)
  const importance = (column: number) => (h ? h[column * (cols + 1)] : 1)
  const groupOf = (i: number) => Math.floor((stored ? i : order[i]) / groupSize)
  const grid = { rule, qmin, qmax, steps, shrink: Math.fround(shrink), dtype: dtypeOfCode(scaleDtype) }
  for (let r = 0; r < rows; r++) {
    const w = Float64Array.from(order, (column) =>
      importance(column) === 0 ? 0 : numbers[r * cols + column],
    )
    const grids: Grid[] = []
    const choose = (g: number) => {
      const size = Math.min(groupSize, cols - g * groupSize)
      const members = Array.from({ length: size }, (_, j) => g * groupSize + j).map((at) =>
        stored ? at : places[at],
      )
      grids[g] = gridOf(
        members.map((i) => w[i]),
        members.map((i) => importance(order[i])),
        grid,
      )
    }
    if (early) for (let g = 0; g < groups; g++) choose(g)
    for (let first = 0; first < cols; first += blockSize) {
      const last = Math.min(first + blockSize, cols)
      for (let i = first; i < last; i++) if (!grids[groupOf(i)]) choose(groupOf(i))
      const later: number[][] = []
      for (let i = first; i < last; i++) {
        const { code, value } = nearest(w[i], grids[groupOf(i)], grid)
        codes[r * cols + (stored ? i : order[i])] = code
        const e = factor ? (w[i] - value) / factor[i * (cols + 1)] : 0
        const moves = (j: number) => (drift?.[j * cols + i] ?? 0) * w[i] - e * (factor?.[j * cols + i] ?? 0)
        for (let j = i + 1; j < last; j++) w[j] += moves(j)
        later.push(Array.from({ length: cols - last }, (_, j) => moves(last + j)))
      }
      for (const moved of later) for (const [j, by] of moved.entries()) w[last + j] += by
    }
    for (let g = 0; g < groups; g++) {
      scale[r * groups + g] = encodeFloat(grid.dtype, grids[g].scale)
      if (shift) shift[r * groups + g] = encodeFloat(grid.dtype, grids[g].offset)
      if (zeroPoint) zeroPoint[r * groups + g] = grids[g].offset
    }
  }
}

/** Scale with shift, or zero point, of a group. */
interface Grid {
  readonly scale: number
  readonly offset: number
}

interface GridChoice {
  readonly rule: number
  readonly qmin: number
  readonly qmax: number
  readonly steps: number
  readonly shrink: number
  readonly dtype: ReturnType<typeof dtypeOfCode>
}

function nearest(w: number, { scale, offset }: Grid, { rule, qmin, qmax }: GridChoice) {
  const within = (code: number) => Math.min(Math.max(code, qmin), qmax)
  if (rule === gridRules.shift) {
    const code = scale === 0 ? 0 : within(roundHalfEven((w + offset) / scale))
    return { code, value: scale * code - offset }
  }
  const code = within(roundHalfEven(w / scale) + offset)
  return { code, value: scale * (code - offset) }
}

function gridOf(w: readonly number[], importance: readonly number[], choice: GridChoice): Grid {
  const { rule, steps, shrink } = choice
  const isShift = rule === gridRules.shift
  let least = Math.min(...(isShift ? [] : [0]), ...w.map(Math.fround))
  let most = Math.max(...(isShift ? [] : [0]), ...w.map(Math.fround))
  if (rule === gridRules.absmax || rule === gridRules.symmetric) {
    most = Math.max(-least, most)
    if (rule === gridRules.absmax || steps > 0 || least < 0) least = -most
  }
  if (least === 0 && most === 0 && !isShift) [least, most] = [-1, 1]
  const grids = candidates(least, most, choice)
  for (let step = 1; step < steps; step++) {
    const p = Math.fround(1 - Math.fround(shrink * Math.fround(step / steps)))
    grids.push(...candidates(Math.fround(p * least), Math.fround(p * most), choice))
  }
  if (steps === 0) return grids[0]
  let best = { grid: grids[0], error: Infinity }
  for (const grid of grids) {
    let error = 0
    for (const [j, value] of w.entries())
      error += importance[j] * (nearest(value, grid, choice).value - value) ** 2
    if (error < best.error) best = { grid, error }
  }
  return best.grid
}

/** The grid of a range, and the one with the zero point on the other side. */
function candidates(least: number, most: number, { rule, qmin, qmax, dtype }: GridChoice): Grid[] {
  const width = Math.fround(Math.fround(most - least) / (qmax - qmin))
  const isShift = rule === gridRules.shift
  const scale = roundTo(dtype, isShift ? width : Math.max(width, dtype === 'float16' ? 2 ** -14 : 2 ** -126))
  if (isShift) return [{ scale, offset: roundTo(dtype, -least) }]
  if (rule === gridRules.absmax) return [{ scale, offset: 0 }]
  if (rule === gridRules.symmetric) return [{ scale, offset: Math.floor((qmin + qmax + 1) / 2) }]
  const ideal = Math.fround(-least / width)
  const nearer = roundHalfEven(ideal)
  const other = nearer > ideal ? nearer - 1 : nearer + 1
  return [nearer, other].map((z) => ({ scale, offset: qmin + Math.min(Math.max(z, 0), qmax - qmin) }))
}

/** Rows that are solved together. */
const tileRows = 64

/** Bytes that the kernel works in: tiles of the weight, and their groups' scales and offsets. */
export function gptqSweepBytes(rows: number, cols: number, groupSize: number, drifts: boolean): number {
  const groups = Math.ceil(cols / groupSize)
  return 4 * tileRows * Math.ceil(rows / tileRows) * (cols * (drifts ? 2 : 1) + 2 * groups)
}
