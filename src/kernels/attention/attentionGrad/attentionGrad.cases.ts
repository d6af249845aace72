import { dtypes } from '../../../core/dtype.ts'
import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, replaced } from '../../inputs.ts'
import { attention } from '../attention/attention.ts'
import { capped, seenKeys, softmaxOf } from '../attention/scores.ts'

interface Sizes {
  batch?: number
  tokens: number
  /** Default: as many as tokens. */
  keys?: number
  heads: number
  kvHeads: number
  headSize: number
  full?: boolean
  window?: number
  ranges?: readonly number[]
  bias?: boolean
  softcap?: number
  sinks?: boolean
}

/** Places of arguments. */
const [biasAt, sinksAt, dyAt, batchAt, windowAt, scaleAt, softcapAt] = [4, 6, 7, 11, 18, 22, 23]
const [dqAt, dkAt] = [8, 9]

/**
 * A probability errs relatively by c·ε·(1 + scale·‖q‖·max‖k‖ + max|bias|), as in attention.cases.ts; dy·v −
 * dy·y by c·ε·‖dy‖·(‖v‖ + ‖y‖). Both go into du, and every output is a sum of such terms, whose magnitudes
 * are summed here. The slope of the cap, 1 − tanh², errs by ε of 1, not of itself. c = 4.
 */
function gradTolerance(args: readonly KernelArg[], output: number): Float64Array {
  const [q, k, v, y] = args.slice(0, 4) as Float32Array[]
  const [bias, ranges, sinks, dy] = [
    args[biasAt] as Float32Array | null,
    args[5] as Int32Array | null,
    args[sinksAt] as Float32Array | null,
    args[dyAt] as Float32Array,
  ]
  const [
    batch,
    tokens,
    heads,
    kvHeads,
    D,
    capacity,
    causal,
    window,
    biasBatch,
    biasHead,
    biasToken,
    scale,
    softcap,
  ] = args.slice(batchAt) as number[]
  const norm = (x: Float32Array, at: number) => Math.hypot(...x.subarray(at, at + D))
  let largestKey = 0
  for (let at = 0; at < k.length; at += D) largestKey = Math.max(largestKey, norm(k, at))
  const added = Array.from(bias ?? []).reduce((most, one) => Math.max(most, Math.abs(one)), 0)
  const bound = new Float64Array(output === dqAt ? q.length : k.length)
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let t = 0; t < tokens; t++) {
        const at = ((b * tokens + t) * heads + h) * D
        const head = (b * kvHeads + Math.floor((h * kvHeads) / heads)) * capacity * D
        const relative = 4 * epsilon * (1 + scale * norm(q, at) * largestKey + added)
        const [first, end] = seenKeys({ ranges, capacity, causal: causal !== 0, window }, b, t)
        const keys = Array.from({ length: Math.max(end - first, 0) }, (_, i) => head + (first + i) * D)
        const scores = keys.map((key, i) => {
          const dot = q.subarray(at, at + D).reduce((sum, one, d) => sum + one * k[key + d], 0)
          const place = b * biasBatch + h * biasHead + t * biasToken + first + i
          return capped(scale * dot, softcap) + (bias ? bias[place] : 0)
        })
        for (const [i, weight] of softmaxOf(scores, sinks?.[h]).entries()) {
          const key = keys[i]
          const p = relative * weight
          const du = scale * p * norm(dy, at) * (norm(v, key) + norm(y, at))
          for (let d = 0; d < D; d++) {
            if (output === dqAt) bound[at + d] += du * Math.abs(k[key + d])
            else bound[key + d] += output === dkAt ? du * Math.abs(q[at + d]) : p * Math.abs(dy[at + d])
          }
        }
      }
  return bound
}

function gradCase(sizes: Sizes): KernelCase {
  const {
    batch = 1,
    tokens,
    heads,
    kvHeads,
    headSize,
    full = false,
    window = 0,
    bias = false,
    softcap = 0,
    sinks = false,
  } = sizes
  const capacity = sizes.keys ?? tokens
  const scale = Math.fround(1 / Math.sqrt(headSize))
  const strides = bias ? [heads * tokens * capacity, tokens * capacity, capacity] : [0, 0, 0]
  const masks = [capacity, full ? 0 : 1, window, ...strides, scale, softcap]
  return {
    name: Object.entries(sizes)
      .map(([key, value]) => `${key}=${value}`)
      .join(' '),
    args(random): KernelArg[] {
      const queries = batch * tokens * heads * headSize
      const keys = batch * kvHeads * capacity * headSize
      const [q, k, v, y] = [queries, keys, keys, queries].map((count) => normals(random, count))
      const added = bias ? normals(random, batch * strides[0]) : null
      const ranges = sizes.ranges ? Int32Array.from(sizes.ranges) : null
      const sink = sinks ? normals(random, heads) : null
      const call = [
        q,
        k,
        v,
        dtypes.float32.code,
        added,
        ranges,
        null,
        sink,
        y,
        batch,
        tokens,
        heads,
        kvHeads,
        headSize,
        0,
        ...masks,
      ]
      attention(...(call as Parameters<typeof attention>))
      const outputs = [queries, keys, keys].map((count) => new Float32Array(count))
      const inputs = [q, k, v, y, added, ranges, sink, normals(random, queries), ...outputs]
      return [...inputs, batch, tokens, heads, kvHeads, headSize, ...masks]
    },
    tolerance: gradTolerance,
    defects: {
      'dy in bfloat16': (args) => replaced(args, dyAt, inBfloat16(args[dyAt] as Float32Array)),
      // One key alone has weight 1, whatever the query.
      ...(tokens > 1 && {
        'scale off by a thousandth': (args: KernelArg[]) => replaced(args, scaleAt, scale * 1.001),
      }),
      ...(window > 0 && {
        'a window of one key more': (args: KernelArg[]) => replaced(args, windowAt, window + 1),
      }),
      ...(bias && { 'no bias': (args: KernelArg[]) => replaced(args, biasAt, null) }),
      ...(sinks && { 'no sinks': (args: KernelArg[]) => replaced(args, sinksAt, null) }),
      ...(softcap > 0 && { 'no cap': (args: KernelArg[]) => replaced(args, softcapAt, 0) }),
    },
  }
}

export const cases: KernelCase[] = [
  gradCase({ tokens: 1, heads: 1, kvHeads: 1, headSize: 8 }),
  gradCase({ batch: 2, tokens: 5, heads: 3, kvHeads: 3, headSize: 7 }),
  gradCase({ tokens: 19, heads: 4, kvHeads: 2, headSize: 64 }),
  gradCase({ batch: 2, tokens: 33, heads: 6, kvHeads: 1, headSize: 46 }),
  gradCase({ batch: 2, tokens: 5, keys: 9, heads: 4, kvHeads: 2, headSize: 7, full: true }),
  gradCase({ tokens: 33, heads: 2, kvHeads: 1, headSize: 20, window: 6 }),
  gradCase({ batch: 2, tokens: 6, heads: 2, kvHeads: 1, headSize: 8, full: true, ranges: [2, 6, 0, 5] }),
  gradCase({
    batch: 2,
    tokens: 6,
    heads: 2,
    kvHeads: 1,
    headSize: 8,
    ranges: [2, 6, 0, 5],
    bias: true,
    softcap: 1.5,
  }),
  gradCase({ batch: 2, tokens: 9, heads: 4, kvHeads: 2, headSize: 16, window: 5, sinks: true }),
]
