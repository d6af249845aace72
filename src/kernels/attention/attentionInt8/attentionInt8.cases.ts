import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, replaced } from '../../inputs.ts'
import { firstPosition } from '../attention/positions.ts'
import { cacheQuantize } from '../cacheQuantize/cacheQuantize.ts'
import { attentionInt8 } from './attentionInt8.ts'

interface Sizes {
  batch?: number
  tokens: number
  heads: number
  kvHeads: number
  headSize: number
  position: number
  /** Tokens in full. */
  residual: number
  groupSize: number
  window?: number
  ranges?: readonly number[]
  bias?: boolean
  softcap?: number
  positions?: readonly number[]
  sinks?: boolean
}

/** Places of arguments. */
const [recentAt, keyScaleAt, valueCodesAt, biasAt, positionsAt, sinksAt, yAt] = [
  4, 6, 7, 9, 11, 12, 13,
] as const
const [residualAt, groupAt, scaleAt] = [21, 22, 27] as const

type Args = Parameters<typeof attentionInt8>

/**
 * As in attention.cases.ts: 8·ε·(1 + |scale|·‖q‖₂·max‖k‖₂ + max|bias|) · Σⱼ pⱼ·|vⱼ|, max‖k‖ of the floats in
 * all places and of what codes stand for.
 */
function tolerance(args: readonly KernelArg[]): Float64Array {
  const call = [...args] as Args
  const [q, k, v, recentK, recentV, keyCodes, keyScale, valueCodes] = call
  const headSize = call[18]
  const magnitudes = new Float32Array(q.length)
  const positive = (x: Float32Array | null) => x?.map(Math.abs) ?? null
  call[2] = positive(v) as Float32Array
  call[recentAt] = positive(recentV)
  call[valueCodesAt] = valueCodes.map((code) => Math.abs((code << 24) >> 24))
  call[yAt] = magnitudes
  attentionInt8(...call)
  const norm = (x: Float32Array, at: number) => Math.hypot(...x.subarray(at, at + headSize))
  const groups = Math.ceil(headSize / call[groupAt])
  const coded = Float32Array.from(keyCodes, (code, i) => {
    const scale = keyScale[Math.floor(i / headSize) * groups + Math.floor((i % headSize) / call[groupAt])]
    return ((code << 24) >> 24) * scale
  })
  let largestKey = 0
  for (const keys of [k, recentK ?? new Float32Array(), coded])
    for (let at = 0; at < keys.length; at += headSize) largestKey = Math.max(largestKey, norm(keys, at) || 0)
  const added = Array.from(call[biasAt] ?? []).reduce((most, one) => Math.max(most, Math.abs(one)), 0)
  return Float64Array.from(magnitudes, (magnitude, i) => {
    const size = call[scaleAt] * norm(q, i - (i % headSize)) * largestKey
    return 8 * epsilon * (1 + size + added) * magnitude
  })
}

function int8Case(sizes: Sizes): KernelCase {
  const { batch = 1, tokens, heads, kvHeads, headSize, position, residual, groupSize } = sizes
  const { window = 0, bias = false, softcap = 0, sinks = false } = sizes
  const positions = sizes.positions ? Int32Array.from(sizes.positions) : null
  /** Behind the last token of any sequence. */
  const end = position + Math.max(0, ...(positions ?? [])) + tokens
  const capacity = Math.max(end - residual, 0)
  const groups = Math.ceil(headSize / groupSize)
  const strides = bias
    ? [heads * tokens * (position + tokens), tokens * (position + tokens), position + tokens]
    : [0, 0, 0]
  /** Whether a query sees codes. */
  const coded = capacity > 0 && (window === 0 || window > residual)
  const defects: NonNullable<KernelCase['defects']> = {
    ...(coded && {
      'value codes of the next column': (args) =>
        replaced(args, valueCodesAt, (args[valueCodesAt] as Uint8Array).slice().copyWithin(0, 1)),
      'scales of keys in bfloat16': (args) =>
        replaced(args, keyScaleAt, inBfloat16(args[keyScaleAt] as Float32Array)),
    }),
    ...(residual > 1 &&
      coded && {
        'one token fewer in full': (args) => replaced(args, residualAt, residual - 1),
      }),
    ...(residual > 0 && {
      'own values in bfloat16': (args) => replaced(args, 2, inBfloat16(args[2] as Float32Array)),
    }),
    ...(residual > 1 &&
      position > 0 && {
        'the ring in bfloat16': (args) =>
          replaced(args, recentAt, inBfloat16(args[recentAt] as Float32Array)),
      }),
  }
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
      const [keys, values] = [0, 1].map(() => {
        const codes = new Uint8Array(batch * kvHeads * capacity * headSize)
        const scale = new Float32Array(batch * kvHeads * capacity * groups)
        const x = normals(random, batch * capacity * kvHeads * headSize)
        cacheQuantize(x, codes, scale, null, batch, capacity, kvHeads, headSize, 0, capacity, groupSize)
        return [codes, scale] as const
      })
      const added = bias ? normals(random, batch * strides[0]) : null
      const ranges = sizes.ranges ? Int32Array.from(sizes.ranges) : null
      const sink = sinks ? normals(random, heads) : null
      const y = new Float32Array(q.length)
      const arrays = [q, k, v, ...rings, ...keys, ...values, added, ranges, positions, sink, y]
      const numbers = [
        batch,
        tokens,
        heads,
        kvHeads,
        headSize,
        position,
        capacity,
        residual,
        groupSize,
        window,
        ...strides,
      ]
      return [...arrays, ...numbers, Math.fround(1 / Math.sqrt(headSize)), softcap]
    },
    tolerance,
    defects,
    work: {
      operations: 4 * batch * tokens * heads * headSize * (position + (tokens + 1) / 2),
      bytes: 2 * batch * kvHeads * (capacity * (headSize + 4 * groups) + residual * headSize * 4),
    },
  }
}

export const cases: KernelCase[] = [
  int8Case({ tokens: 1, heads: 2, kvHeads: 1, headSize: 16, position: 0, residual: 4, groupSize: 16 }),
  int8Case({ tokens: 1, heads: 2, kvHeads: 1, headSize: 16, position: 3, residual: 4, groupSize: 16 }),
  int8Case({ tokens: 1, heads: 2, kvHeads: 1, headSize: 16, position: 4, residual: 4, groupSize: 16 }),
  int8Case({ tokens: 1, heads: 9, kvHeads: 3, headSize: 64, position: 200, residual: 128, groupSize: 64 }),
  int8Case({ tokens: 1, heads: 4, kvHeads: 4, headSize: 48, position: 130, residual: 0, groupSize: 48 }),
  int8Case({
    batch: 2,
    tokens: 1,
    heads: 6,
    kvHeads: 1,
    headSize: 80,
    position: 90,
    residual: 7,
    groupSize: 64,
  }),
  int8Case({ tokens: 1, heads: 1, kvHeads: 1, headSize: 300, position: 80, residual: 5, groupSize: 64 }),
  // Chunks of a prompt: at its start, longer than what is kept in full, across the ring's turn.
  int8Case({ tokens: 20, heads: 2, kvHeads: 1, headSize: 16, position: 0, residual: 64, groupSize: 16 }),
  int8Case({
    batch: 2,
    tokens: 70,
    heads: 4,
    kvHeads: 2,
    headSize: 20,
    position: 0,
    residual: 8,
    groupSize: 20,
  }),
  int8Case({ tokens: 67, heads: 2, kvHeads: 2, headSize: 64, position: 75, residual: 32, groupSize: 64 }),
  int8Case({ tokens: 9, heads: 2, kvHeads: 1, headSize: 33, position: 21, residual: 16, groupSize: 16 }),
  int8Case({ tokens: 130, heads: 1, kvHeads: 1, headSize: 8, position: 3, residual: 0, groupSize: 8 }),
  // Windows within what is kept in full and beyond, padding, a bias, a cap.
  int8Case({
    tokens: 70,
    heads: 2,
    kvHeads: 1,
    headSize: 16,
    position: 40,
    residual: 16,
    groupSize: 16,
    window: 9,
  }),
  int8Case({
    tokens: 5,
    heads: 2,
    kvHeads: 1,
    headSize: 16,
    position: 90,
    residual: 16,
    groupSize: 16,
    window: 40,
  }),
  int8Case({
    batch: 2,
    tokens: 3,
    heads: 2,
    kvHeads: 1,
    headSize: 16,
    position: 40,
    residual: 8,
    groupSize: 16,
    ranges: [10, 43, 0, 39],
  }),
  int8Case({
    batch: 2,
    tokens: 9,
    heads: 4,
    kvHeads: 2,
    headSize: 16,
    position: 70,
    residual: 8,
    groupSize: 16,
    bias: true,
    softcap: 2,
  }),
  // Sequences that stand at places of their own, of which one is left out; sinks.
  int8Case({
    batch: 4,
    tokens: 1,
    heads: 4,
    kvHeads: 2,
    headSize: 16,
    position: 0,
    residual: 8,
    groupSize: 16,
    positions: [3, 130, -1, 8],
  }),
  int8Case({
    batch: 2,
    tokens: 70,
    heads: 2,
    kvHeads: 1,
    headSize: 20,
    position: 2,
    residual: 32,
    groupSize: 20,
    window: 60,
    positions: [40, 0],
    sinks: true,
  }),
]

/** As in attention.cases.ts. */
export const benchmarks: KernelCase[] = [
  int8Case({ tokens: 1, heads: 32, kvHeads: 8, headSize: 64, position: 2047, residual: 128, groupSize: 64 }),
  int8Case({ tokens: 512, heads: 32, kvHeads: 8, headSize: 64, position: 0, residual: 128, groupSize: 64 }),
]
