import { type DType, dtypes, type HostArray } from '../../../core/dtype.ts'
import { decodeFloat } from '../../../core/halves.ts'
import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, rawOf, replaced } from '../../inputs.ts'
import { firstPosition } from '../attention/positions.ts'
import { cacheQuantize } from '../cacheQuantize/cacheQuantize.ts'
import { codeAt, codeBytes, scaleCount, scaleIndex } from '../cacheQuantize/codes.ts'
import { attentionCached } from './attentionCached.ts'

interface Sizes {
  batch?: number
  tokens: number
  heads: number
  kvHeads: number
  headSize: number
  position: number
  /** Tokens in full. */
  residual: number
  /** 0 where there are no codes. */
  bits?: 0 | 4 | 8
  /** Rows of codes, fewer than the tokens; a multiple of `groupTokens`. */
  rows?: number
  /** Of keys; default 0. */
  groupTokens?: number
  /** Of tokens in full; default float16. */
  dtype?: DType
  window?: number
  ranges?: readonly number[]
  bias?: boolean
  softcap?: number
  positions?: readonly number[]
  sinks?: boolean
}

type Args = Parameters<typeof attentionCached>

/** Places of arguments. */
const [vAt, recentVAt, keyCodesAt, keyScaleAt, valueCodesAt] = [2, 4, 6, 7, 9] as const
const [biasAt, positionsAt, sinksAt, yAt] = [13, 15, 16, 17] as const
const [capacityAt, residualAt, bitsAt, groupAt, scaleAt] = [24, 25, 26, 27, 32] as const

const floatsOf = (raw: HostArray | null, dtype: DType): Float32Array =>
  Float32Array.from((raw ?? []) as Float32Array, (bits) => decodeFloat(dtype, bits))

/**
 * As in attention.cases.ts: 8·ε·(1 + |scale|·‖q‖₂·max‖k‖₂ + max|bias|) · Σⱼ pⱼ·|vⱼ|, max‖k‖ of the floats in
 * all places and of what codes stand for. Values of 4 bits are positive already.
 */
function tolerance(dtype: DType): (args: readonly KernelArg[]) => Float64Array {
  return (args) => {
    const call = [...args] as Args
    const [q, headSize, capacity, bits] = [call[0], call[22], call[capacityAt], call[bitsAt]]
    const magnitudes = new Float32Array(q.length)
    const positive = (raw: HostArray | null) => raw && rawOf(dtype, floatsOf(raw, dtype).map(Math.abs))
    call[vAt] = positive(call[vAt]) as HostArray
    call[recentVAt] = positive(call[recentVAt])
    if (bits === 8) call[valueCodesAt] = call[valueCodesAt].map((code) => Math.abs((code << 24) >> 24))
    call[yAt] = magnitudes
    attentionCached(...call)
    const norm = (x: Float32Array, at: number) => Math.hypot(...x.subarray(at, at + headSize))
    const geometry = { headSize, capacity, groupTokens: call[groupAt] }
    const coded = new Float32Array(call[18] * call[21] * capacity * headSize).map((_, i) => {
      const [row, d] = [Math.floor(i / headSize), i % headSize]
      const at = scaleIndex(Math.floor(row / capacity), row % capacity, d, geometry)
      const [scale, shift] = [call[keyScaleAt], call[keyScaleAt + 1] as HostArray | null].map((raw) =>
        raw ? decodeFloat('float16', raw[at] as number) : 0,
      )
      return shift + scale * codeAt(call[keyCodesAt], row, headSize, bits, d)
    })
    let largestKey = 0
    for (const keys of [floatsOf(call[1], dtype), floatsOf(call[3], dtype), coded])
      for (let at = 0; at < keys.length; at += headSize)
        largestKey = Math.max(largestKey, norm(keys, at) || 0)
    const added = Array.from(call[biasAt] ?? []).reduce((most, one) => Math.max(most, Math.abs(one)), 0)
    return Float64Array.from(magnitudes, (magnitude, i) => {
      const size = call[scaleAt] * norm(q, i - (i % headSize)) * largestKey
      return 8 * epsilon * (1 + size + added) * magnitude
    })
  }
}

function cachedCase(sizes: Sizes): KernelCase {
  const { batch = 1, tokens, heads, kvHeads, headSize, position, residual, bits = 8 } = sizes
  const { groupTokens = 0, dtype = 'float16', window = 0, bias = false, softcap = 0, sinks = false } = sizes
  const positions = sizes.positions ? Int32Array.from(sizes.positions) : null
  /** Behind the last token of any sequence. */
  const end = position + Math.max(0, ...(positions ?? [])) + tokens
  const capacity = bits === 0 ? 0 : (sizes.rows ?? Math.max(end - residual, 0))
  const strides = bias ? [heads * tokens * end, tokens * end, end] : [0, 0, 0]
  /** Whether a query sees codes. */
  const coded = capacity > 0 && (window === 0 || window > residual)
  const defects: NonNullable<KernelCase['defects']> = {}
  if (coded) {
    defects['value codes of the next column'] = (args) =>
      replaced(args, valueCodesAt, (args[valueCodesAt] as Uint8Array).slice().copyWithin(0, 1))
    defects['scales of keys in bfloat16'] = (args) => {
      const scale = floatsOf(args[keyScaleAt] as HostArray, 'float16')
      return replaced(args, keyScaleAt, rawOf('float16', inBfloat16(scale)))
    }
    if (residual > 1) defects['one token fewer in full'] = (args) => replaced(args, residualAt, residual - 1)
  }
  const roughly = (args: KernelArg[], index: number) =>
    replaced(args, index, rawOf(dtype, inBfloat16(floatsOf(args[index] as HostArray, dtype))))
  if (residual > 0) defects['own values in bfloat16'] = (args) => roughly(args, vAt)
  if (residual > 1 && position > 0) defects['the ring in bfloat16'] = (args) => roughly(args, recentVAt)
  if (positions)
    defects['sequences one key earlier'] = (args) =>
      replaced(
        args,
        positionsAt,
        positions.map((at) => at - 1),
      )
  if (sinks) defects['no sinks'] = (args) => replaced(args, sinksAt, null)
  return {
    name: Object.entries(sizes)
      .map(([key, value]) => `${key}=${value}`)
      .join(' '),
    args(random) {
      const own = batch * tokens * kvHeads * headSize
      const [q, k, v] = [batch * tokens * heads * headSize, own, own].map((count) => normals(random, count))
      const rings = [0, 1].map(() =>
        residual === 0
          ? null
          : normals(random, batch * kvHeads * residual * headSize).map((value, i) => {
              // Slots that no token has come to yet hold anything.
              const slot = Math.floor(i / headSize) % residual
              const b = Math.floor(i / (kvHeads * residual * headSize))
              return slot < firstPosition(position, positions, b) ? value : NaN
            }),
      )
      const kept = [groupTokens, 0].map((group, i) => {
        const codes = new Uint8Array(batch * kvHeads * capacity * codeBytes(headSize, bits))
        const scales = batch * kvHeads * scaleCount(headSize, capacity, group)
        const [scale, shift] = [new Uint16Array(scales), bits === 4 ? new Uint16Array(scales) : null]
        // Whole groups, the last tokens of which are those in full.
        const count = group > 0 ? Math.ceil(capacity / group) * group : capacity
        const x = normals(random, batch * count * kvHeads * headSize)
        if (bits === 4 && i === 1)
          x.forEach((value, at) => {
            x[at] = Math.abs(value)
          })
        const { float16, float32 } = dtypes
        const call = [x, null, float32.code, codes, scale, shift, float16.code, null, batch, count, kvHeads]
        if (capacity > 0)
          cacheQuantize(
            ...([...call, headSize, 0, capacity, 0, bits, group] as Parameters<typeof cacheQuantize>),
          )
        return [codes, scale, shift]
      })
      const ranges = sizes.ranges ? Int32Array.from(sizes.ranges) : null
      const full = [k, v, ...rings].map((values) => values && rawOf(dtype, values))
      return [
        ...[q, ...full, dtypes[dtype].code, ...kept.flat(), dtypes.float16.code],
        ...[bias ? normals(random, batch * strides[0]) : null, ranges, positions],
        ...[sinks ? normals(random, heads) : null, new Float32Array(q.length)],
        ...[batch, tokens, heads, kvHeads, headSize, position, capacity, residual, bits, groupTokens, window],
        ...[...strides, Math.fround(1 / Math.sqrt(headSize)), softcap],
      ]
    },
    tolerance: tolerance(dtype),
    defects,
    work: {
      operations: 4 * batch * tokens * heads * headSize * (position + (tokens + 1) / 2),
      bytes: batch * kvHeads * (capacity * (2 * codeBytes(headSize, bits)) + 4 * residual * headSize),
    },
  }
}

export const cases: KernelCase[] = [
  cachedCase({ tokens: 1, heads: 2, kvHeads: 1, headSize: 16, position: 0, residual: 4 }),
  cachedCase({ tokens: 1, heads: 2, kvHeads: 1, headSize: 16, position: 3, residual: 4 }),
  cachedCase({ tokens: 1, heads: 2, kvHeads: 1, headSize: 16, position: 4, residual: 4 }),
  cachedCase({ tokens: 1, heads: 9, kvHeads: 3, headSize: 64, position: 200, residual: 128 }),
  cachedCase({ tokens: 1, heads: 4, kvHeads: 4, headSize: 48, position: 130, residual: 0 }),
  cachedCase({
    batch: 2,
    tokens: 1,
    heads: 6,
    kvHeads: 1,
    headSize: 80,
    position: 90,
    residual: 7,
  }),
  cachedCase({ tokens: 1, heads: 1, kvHeads: 1, headSize: 300, position: 80, residual: 5 }),
  // Chunks of a prompt: at its start, longer than what is kept in full, across the ring's turn.
  cachedCase({ tokens: 20, heads: 2, kvHeads: 1, headSize: 16, position: 0, residual: 64 }),
  cachedCase({
    batch: 2,
    tokens: 70,
    heads: 4,
    kvHeads: 2,
    headSize: 20,
    position: 0,
    residual: 8,
  }),
  cachedCase({ tokens: 67, heads: 2, kvHeads: 2, headSize: 64, position: 75, residual: 32 }),
  cachedCase({ tokens: 9, heads: 2, kvHeads: 1, headSize: 33, position: 21, residual: 16 }),
  cachedCase({ tokens: 130, heads: 1, kvHeads: 1, headSize: 8, position: 3, residual: 0 }),
  // Windows within what is kept in full and beyond, padding, a bias, a cap.
  cachedCase({
    tokens: 70,
    heads: 2,
    kvHeads: 1,
    headSize: 16,
    position: 40,
    residual: 16,
    window: 9,
  }),
  cachedCase({
    tokens: 5,
    heads: 2,
    kvHeads: 1,
    headSize: 16,
    position: 90,
    residual: 16,
    window: 40,
  }),
  cachedCase({
    batch: 2,
    tokens: 3,
    heads: 2,
    kvHeads: 1,
    headSize: 16,
    position: 40,
    residual: 8,
    ranges: [10, 43, 0, 39],
  }),
  cachedCase({
    batch: 2,
    tokens: 9,
    heads: 4,
    kvHeads: 2,
    headSize: 16,
    position: 70,
    residual: 8,
    bias: true,
    softcap: 2,
  }),
  // Sequences that stand at places of their own, of which one is left out; sinks.
  cachedCase({
    batch: 4,
    tokens: 1,
    heads: 4,
    kvHeads: 2,
    headSize: 16,
    position: 0,
    residual: 8,
    positions: [3, 130, -1, 8],
  }),
  cachedCase({
    batch: 2,
    tokens: 70,
    heads: 2,
    kvHeads: 1,
    headSize: 20,
    position: 2,
    residual: 32,
    window: 60,
    positions: [40, 0],
    sinks: true,
  }),
  // Windows whose codes have fewer rows than there are tokens, read across the turn.
  cachedCase({
    ...{ tokens: 1, heads: 4, kvHeads: 2, headSize: 20, position: 130, residual: 8, window: 30, rows: 40 },
  }),
  cachedCase({
    ...{ batch: 2, tokens: 20, heads: 2, kvHeads: 1, headSize: 16, position: 3, residual: 8, window: 40 },
    ...{ rows: 64, positions: [40, 170] },
  }),
  cachedCase({
    ...{ tokens: 9, heads: 2, kvHeads: 2, headSize: 33, position: 130, residual: 16, window: 50, rows: 72 },
    ...{ bits: 4, groupTokens: 8 },
  }),
  // Codes of 4 bits: scales of each token, and of each value over groups of keys.
  cachedCase({ tokens: 1, heads: 2, kvHeads: 1, headSize: 16, position: 9, residual: 4, bits: 4 }),
  cachedCase({ tokens: 1, heads: 9, kvHeads: 3, headSize: 64, position: 200, residual: 30, bits: 4 }),
  cachedCase({ tokens: 3, heads: 1, kvHeads: 1, headSize: 97, position: 80, residual: 5, bits: 4 }),
  cachedCase({ tokens: 1, heads: 1, kvHeads: 1, headSize: 300, position: 80, residual: 5, bits: 4 }),
  ...[
    { tokens: 1, heads: 6, kvHeads: 2, headSize: 64, position: 230, residual: 64, groupTokens: 64 },
    { tokens: 70, heads: 2, kvHeads: 1, headSize: 33, position: 21, residual: 9, groupTokens: 8 },
    { tokens: 5, heads: 1, kvHeads: 1, headSize: 300, position: 80, residual: 20, groupTokens: 16 },
  ].map((sizes) => cachedCase({ bits: 4, ...sizes })),
  cachedCase({
    batch: 3,
    tokens: 1,
    heads: 4,
    kvHeads: 2,
    headSize: 20,
    position: 0,
    residual: 8,
    bits: 4,
    groupTokens: 8,
    positions: [3, 130, 25],
  }),
  // A ring alone: the window's tokens in full, of several dtypes.
  ...(['float32', 'float16'] as const).flatMap((dtype) => [
    cachedCase({
      tokens: 1,
      heads: 4,
      kvHeads: 2,
      headSize: 20,
      position: 90,
      residual: 16,
      bits: 0,
      window: 16,
      dtype,
    }),
    cachedCase({
      tokens: 70,
      heads: 2,
      kvHeads: 1,
      headSize: 16,
      position: 21,
      residual: 9,
      bits: 0,
      window: 9,
      dtype,
    }),
  ]),
]

/** As in attention.cases.ts. */
export const benchmarks: KernelCase[] = [
  cachedCase({ tokens: 1, heads: 32, kvHeads: 8, headSize: 64, position: 2047, residual: 128 }),
  cachedCase({ tokens: 512, heads: 32, kvHeads: 8, headSize: 64, position: 0, residual: 128 }),
]
