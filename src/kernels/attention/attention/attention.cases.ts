import type { KernelArg, KernelCase } from '../../case.ts'
import { inBfloat16, normals } from '../../inputs.ts'
import { attention } from './attention.ts'

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
}

type Scalars = [number, number, number, number, number, number, number, number]
type Args = [Float32Array, Float32Array, Float32Array, Float32Array, ...Scalars]

/**
 * c·ε·(1 + |scale|·‖q‖₂·max‖k‖₂) · Σⱼ pⱼ·|vⱼ| with c = 8: a score is off by ε·|scale|·‖q‖₂·‖k‖₂ at most a few
 * times over, a weight relatively by as much, and the sum over j adds a few roundings of its own.
 */
function attentionTolerance(args: readonly KernelArg[]): Float64Array {
  const [q, k, v, y, ...sizes] = args as Args
  const [batch, tokens, heads, , headSize, , , scale] = sizes
  const magnitudes = new Float32Array(y.length)
  attention(q, k, v.map(Math.abs), magnitudes, ...sizes)
  const norm = (x: Float32Array, row: number) =>
    Math.hypot(...x.subarray(row * headSize, (row + 1) * headSize))
  let largestKey = 0
  for (let row = 0; row < k.length / headSize; row++) largestKey = Math.max(largestKey, norm(k, row) || 0)
  const bounds = Float64Array.from(
    { length: batch * tokens * heads },
    (_, row) => 1 + Math.abs(scale) * norm(q, row) * largestKey,
  )
  return Float64Array.from(
    magnitudes,
    (magnitude, i) => 8 * 2 ** -23 * bounds[Math.floor(i / headSize)] * magnitude,
  )
}

function attentionCase({
  batch = 1,
  tokens,
  heads,
  kvHeads,
  headSize,
  position = 0,
  capacity,
  spread = 1,
}: Sizes): KernelCase {
  const count = batch * tokens * heads * headSize
  const keys = position + tokens
  const name = `batch=${batch} tokens=${tokens} heads=${heads}/${kvHeads} headSize=${headSize} position=${position} capacity=${capacity}`
  return {
    name: spread === 1 ? name : `${name} spread=${spread}`,
    args(random) {
      const [k, v] = [0, 1].map(() => {
        const cache = normals(random, batch * kvHeads * capacity * headSize, spread)
        // What lies behind the last key is left over from others and must not matter.
        return cache.map((value, i) => (Math.floor(i / headSize) % capacity < keys ? value : NaN))
      })
      const sizes = [
        batch,
        tokens,
        heads,
        kvHeads,
        headSize,
        position,
        capacity,
        Math.fround(1 / Math.sqrt(headSize)),
      ]
      return [normals(random, count, spread), k, v, new Float32Array(count), ...sizes]
    },
    tolerance: attentionTolerance,
    defects: {
      // One key alone has weight 1, whatever the query, and so has the first of scores far apart.
      ...(keys > 1 &&
        spread === 1 && {
          'scale off by a thousandth': (args: KernelArg[]) => args.with(11, (args[11] as number) * 1.001),
        }),
      'values rounded to bfloat16': (args) => args.with(2, inBfloat16(args[2] as Float32Array)),
      ...(keys > 1 &&
        position > 0 && { 'last key not seen': (args: KernelArg[]) => args.with(9, position - 1) }),
      ...(kvHeads > 1 && {
        'key heads exchanged': (args: KernelArg[]) =>
          args.with(1, nextHead(args[1] as Float32Array, kvHeads)),
      }),
    },
    work: {
      operations: 4 * batch * tokens * heads * headSize * (position + (tokens + 1) / 2),
      bytes: 8 * batch * kvHeads * keys * headSize,
    },
  }
}

/** The cache of one batch with every head's keys moved to the head before. */
function nextHead(cache: Float32Array, kvHeads: number): Float32Array {
  const size = cache.length / kvHeads
  return cache.map((_, i) => cache[(i + size) % cache.length])
}

/** A score of −∞ or a NaN key among finite ones. */
function withKey(value: number): KernelCase {
  const plain = attentionCase({ tokens: 1, heads: 2, kvHeads: 1, headSize: 16, position: 69, capacity: 70 })
  return {
    name: `${plain.name} with a key of ${value}`,
    args(random) {
      const args = plain.args(random)
      const [q, k] = args as Args
      q.fill(1, 0, 1)
      q.fill(1, 16, 17)
      k[3 * 16] = value
      return args
    },
    // Of the magnitudes only: an infinite norm says nothing.
    tolerance: () => 1e-4,
  }
}

/** A value of NaN or infinity reaches its own token and those behind it, and no token before. */
function withValue(value: number): KernelCase {
  const plain = attentionCase({ tokens: 70, heads: 2, kvHeads: 1, headSize: 20, position: 5, capacity: 75 })
  return {
    name: `${plain.name} with a value of ${value}`,
    args(random) {
      const args = plain.args(random)
      ;(args[2] as Float32Array)[40 * 20 + 3] = value
      return args
    },
    tolerance: () => 1e-4,
    defects: {
      'a token earlier': (args) => args.with(2, (args[2] as Float32Array).with(39 * 20 + 3, value)),
    },
  }
}

export const cases: KernelCase[] = [
  attentionCase({ tokens: 1, heads: 1, kvHeads: 1, headSize: 1, capacity: 1 }),
  attentionCase({ tokens: 1, heads: 6, kvHeads: 6, headSize: 48, position: 12, capacity: 16 }),
  attentionCase({ batch: 2, tokens: 1, heads: 8, kvHeads: 2, headSize: 64, position: 130, capacity: 200 }),
  attentionCase({ tokens: 1, heads: 9, kvHeads: 1, headSize: 80, position: 63, capacity: 64 }),
  attentionCase({ tokens: 1, heads: 12, kvHeads: 2, headSize: 33, position: 64, capacity: 128 }),
  attentionCase({ tokens: 2, heads: 2, kvHeads: 1, headSize: 64, position: 5, capacity: 7 }),
  attentionCase({ tokens: 5, heads: 4, kvHeads: 2, headSize: 32, capacity: 8 }),
  attentionCase({ batch: 2, tokens: 17, heads: 4, kvHeads: 2, headSize: 20, position: 61, capacity: 80 }),
  attentionCase({ tokens: 67, heads: 2, kvHeads: 2, headSize: 64, position: 3, capacity: 70 }),
  attentionCase({ tokens: 129, heads: 3, kvHeads: 1, headSize: 7, capacity: 131 }),
  attentionCase({ tokens: 13, heads: 1, kvHeads: 1, headSize: 300, position: 70, capacity: 83 }),
  attentionCase({ tokens: 70, heads: 1, kvHeads: 1, headSize: 16, position: 2, capacity: 72, spread: 20 }),
  attentionCase({ tokens: 1, heads: 1, kvHeads: 1, headSize: 16, position: 2099, capacity: 2100 }),
  withKey(-Infinity),
  withKey(NaN),
  withValue(NaN),
  withValue(Infinity),
]
