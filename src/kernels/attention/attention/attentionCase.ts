import { type DType, dtypes, type HostArray } from '../../../core/dtype.ts'
import { decodeFloat } from '../../../core/halves.ts'
import type { KernelArg, KernelCase } from '../../case.ts'
import { inBfloat16, normals, rawOf, replaced } from '../../inputs.ts'
import { attention } from './attention.ts'
import { firstPosition } from './positions.ts'
import { seenKeys } from './scores.ts'

interface Sizes {
  batch?: number
  tokens: number
  heads: number
  kvHeads: number
  headSize: number
  position?: number
  capacity: number
  /** Of q and k: large ones make the softmax pick one key. */
  spread?: number
  /** Every query sees every key. */
  full?: boolean
  window?: number
  /** First key and end of each sequence. */
  ranges?: readonly number[]
  /** Which of batch, heads and tokens the bias differs in: `h` for one like ALiBi's. */
  bias?: '' | 'h' | 't' | 'bt' | 'bht'
  softcap?: number
  /** Where each sequence stands, from `position` on. */
  positions?: readonly number[]
  sinks?: boolean
  /** Of keys and values; default float32. */
  dtype?: DType
}

type Floats = Float32Array | null
type Ints = Int32Array | null
type Arrays = [Float32Array, HostArray, HostArray, number, Floats, Ints, Ints, Floats, Float32Array]
type Sixteen<T> = [T, T, T, T, T, T, T, T, T, T, T, T, T, T]
type Args = [...Arrays, ...Sixteen<number>]

/** Places of arguments that defects change. */
const [dtypeAt, biasAt, rangesAt, positionsAt, sinksAt] = [3, 4, 5, 6, 7]
const [positionAt, windowAt, scaleAt, softcapAt] = [14, 17, 21, 22]

/**
 * c·ε·(1 + |scale|·‖q‖₂·max‖k‖₂ + max|bias|) · Σⱼ pⱼ·|vⱼ| with c = 8: a score is off by ε of its terms at
 * most a few times over (the cap's slope is at most 1), a weight relatively by as much, and the sum over j
 * adds a few roundings of its own.
 */
function attentionTolerance(args: readonly KernelArg[]): Float64Array {
  const [q, rawK, rawV, , bias, ranges, positions, sinks, y, ...sizes] = args as Args
  const [k, v] = [rawK, rawV].map((raw) => valuesOf(raw, args))
  const [batch, tokens, heads, , headSize] = sizes
  const scale = args[scaleAt] as number
  const magnitudes = new Float32Array(y.length)
  attention(
    ...[q, k, v.map(Math.abs), dtypes.float32.code, bias, ranges, positions, sinks, magnitudes, ...sizes],
  )
  const norm = (x: Float32Array, row: number) =>
    Math.hypot(...x.subarray(row * headSize, (row + 1) * headSize))
  let largestKey = 0
  for (let row = 0; row < k.length / headSize; row++) largestKey = Math.max(largestKey, norm(k, row) || 0)
  const added = Array.from(bias ?? []).reduce(
    (most, one) => Math.max(most, one > -Infinity ? Math.abs(one) : 0),
    0,
  )
  const bounds = Float64Array.from(
    { length: batch * tokens * heads },
    (_, row) => 1 + Math.abs(scale) * norm(q, row) * largestKey + added,
  )
  return Float64Array.from(
    magnitudes,
    (magnitude, i) => 8 * 2 ** -23 * bounds[Math.floor(i / headSize)] * magnitude,
  )
}

/** Keys, or values, as numbers. */
function valuesOf(raw: HostArray, args: readonly KernelArg[]): Float32Array {
  const dtype = (Object.keys(dtypes) as DType[]).find((name) => dtypes[name].code === args[dtypeAt])
  return Float32Array.from(raw as Float32Array, (bits) => decodeFloat(dtype ?? 'float32', bits))
}

/** Arguments with keys (1) or values (2) changed. */
function changed(
  args: KernelArg[],
  index: 1 | 2,
  change: (values: Float32Array) => Float32Array,
): KernelArg[] {
  return args
    .with(index, change(valuesOf(args[index] as HostArray, args)))
    .with(3 - index, valuesOf(args[3 - index] as HostArray, args))
    .with(dtypeAt, dtypes.float32.code)
}

/** A case of these sizes. */
export function attentionCase(sizes: Sizes): KernelCase {
  const { batch = 1, tokens, heads, kvHeads, headSize, position = 0, capacity, spread = 1 } = sizes
  const { full = false, window = 0, bias, softcap = 0, sinks = false, dtype = 'float32' } = sizes
  const ranges = sizes.ranges ? Int32Array.from(sizes.ranges) : null
  const positions = sizes.positions ? Int32Array.from(sizes.positions) : null
  const count = batch * tokens * heads * headSize
  const mask = { ranges, capacity, causal: !full, window }
  /** Whether some query of sequence b sees key j. */
  const seen = (b: number, j: number) => {
    const start = firstPosition(position, positions, b)
    return Array.from({ length: tokens }, (_, t) => seenKeys(mask, b, start < 0 ? start : start + t)).some(
      ([first, end]) => first <= j && j < end,
    )
  }
  const keys = full ? capacity : position + Math.max(0, ...(positions ?? [])) + tokens
  const strides = {
    batch: bias?.includes('b') ? heads * tokens * capacity : 0,
    head: bias?.includes('h') ? (bias.includes('t') ? tokens : 1) * capacity : 0,
    token: bias?.includes('t') ? capacity : 0,
  }
  return {
    name: Object.entries(sizes)
      .map(([key, value]) => `${key}=${value}`)
      .join(' '),
    args(random) {
      const kept = Array.from({ length: batch * capacity }, (_, i) =>
        seen(Math.floor(i / capacity), i % capacity),
      )
      const [k, v] = [0, 1].map(() => {
        const cache = normals(random, batch * kvHeads * capacity * headSize, spread)
        // What no query sees is left over from others and must not matter.
        return cache.map((value, i) => {
          const row = Math.floor(i / headSize)
          return kept[Math.floor(row / (kvHeads * capacity)) * capacity + (row % capacity)] ? value : NaN
        })
      })
      const length = (batch - 1) * strides.batch + heads * tokens * capacity
      // Some keys are masked by the bias, as a mask of booleans does.
      const added = normals(random, length).map((one) => (bias !== 'h' && one > 1.5 ? -Infinity : one))
      return [
        normals(random, count, spread),
        rawOf(dtype, k),
        rawOf(dtype, v),
        dtypes[dtype].code,
        bias === undefined ? null : added,
        ranges,
        positions,
        sinks ? normals(random, heads) : null,
        new Float32Array(count),
        ...[batch, tokens, heads, kvHeads, headSize, position, capacity, full ? 0 : 1, window],
        ...[strides.batch, strides.head, strides.token],
        Math.fround(1 / Math.sqrt(headSize)),
        softcap,
      ]
    },
    tolerance: attentionTolerance,
    defects: {
      // One key alone has weight 1, whatever the query, and so has the first of scores far apart.
      ...(keys > 1 &&
        window !== 1 &&
        spread === 1 && {
          'scale off by a thousandth': (args: KernelArg[]) =>
            args.with(scaleAt, (args[scaleAt] as number) * 1.001),
        }),
      ...(dtype !== 'float8_e4m3fn' && {
        'values rounded to bfloat16': (args) => changed(args, 2, inBfloat16),
      }),
      ...(keys > 1 &&
        !full &&
        position > 0 && {
          'last key not seen': (args: KernelArg[]) => args.with(positionAt, position - 1),
        }),
      ...(kvHeads > 1 &&
        window !== 1 && {
          'key heads exchanged': (args: KernelArg[]) => changed(args, 1, (keys) => nextHead(keys, kvHeads)),
        }),
      ...(window > 0 && {
        'a window of one key more': (args: KernelArg[]) => args.with(windowAt, window + 1),
      }),
      ...(ranges && {
        'ranges that start later': (args: KernelArg[]) =>
          args.with(
            rangesAt,
            ranges.map((at, i) => (i % 2 === 0 ? at + 1 : at)),
          ),
      }),
      ...(bias !== undefined && {
        'bias of the next key': (args: KernelArg[]) =>
          replaced(args, biasAt, Float32Array.from(args[biasAt] as Float32Array).copyWithin(0, 1)),
      }),
      ...(softcap > 0 && { 'no cap': (args: KernelArg[]) => args.with(softcapAt, 0) }),
      ...(positions && {
        'sequences one key earlier': (args: KernelArg[]) =>
          args.with(
            positionsAt,
            positions.map((at) => at - 1),
          ),
      }),
      ...(sinks && { 'no sinks': (args: KernelArg[]) => args.with(sinksAt, null) }),
    },
    work: {
      operations: 4 * batch * tokens * heads * headSize * (full ? capacity : position + (tokens + 1) / 2),
      bytes: 8 * batch * kvHeads * keys * headSize,
    },
  }
}

/** The cache of one batch with every head's keys moved to the head before. */
function nextHead(cache: Float32Array, kvHeads: number): Float32Array {
  const size = cache.length / kvHeads
  return cache.map((_, i) => cache[(i + size) % cache.length])
}
