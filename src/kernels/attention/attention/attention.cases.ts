import type { KernelCase } from '../../case.ts'
import { attentionCase } from './attentionCase.ts'

/** A score of −∞ or a NaN key among finite ones. */
function withKey(value: number): KernelCase {
  const plain = attentionCase({ tokens: 1, heads: 2, kvHeads: 1, headSize: 16, position: 69, capacity: 70 })
  return {
    name: `${plain.name} with a key of ${value}`,
    args(random) {
      const args = plain.args(random)
      const [q, k] = args as Float32Array[]
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
  attentionCase({ tokens: 5, heads: 2, kvHeads: 1, headSize: 8, capacity: 9, full: true }),
  attentionCase({ batch: 2, tokens: 70, heads: 2, kvHeads: 1, headSize: 20, capacity: 130, full: true }),
  attentionCase({ tokens: 1, heads: 2, kvHeads: 2, headSize: 16, position: 7, capacity: 9, window: 1 }),
  attentionCase({ tokens: 1, heads: 6, kvHeads: 2, headSize: 32, position: 199, capacity: 256, window: 70 }),
  attentionCase({
    batch: 2,
    tokens: 150,
    heads: 2,
    kvHeads: 1,
    headSize: 24,
    position: 3,
    capacity: 160,
    window: 5,
  }),
  attentionCase({ tokens: 130, heads: 1, kvHeads: 1, headSize: 64, position: 40, capacity: 170, window: 64 }),
  // Left padding, right padding, and a sequence of one key.
  attentionCase({
    batch: 3,
    tokens: 9,
    heads: 2,
    kvHeads: 1,
    headSize: 8,
    capacity: 9,
    full: true,
    ranges: [4, 9, 0, 6, 3, 4],
  }),
  attentionCase({
    batch: 2,
    tokens: 70,
    heads: 2,
    kvHeads: 2,
    headSize: 16,
    position: 5,
    capacity: 75,
    ranges: [20, 75, 0, 40],
  }),
  // Queries that see nothing: before the sequence's first key.
  attentionCase({
    batch: 2,
    tokens: 1,
    heads: 2,
    kvHeads: 1,
    headSize: 16,
    position: 5,
    capacity: 9,
    ranges: [2, 6, 6, 9],
  }),
  attentionCase({ tokens: 1, heads: 6, kvHeads: 2, headSize: 16, position: 80, capacity: 90, bias: 'h' }),
  attentionCase({ tokens: 20, heads: 3, kvHeads: 3, headSize: 16, position: 60, capacity: 90, bias: 'h' }),
  attentionCase({
    batch: 2,
    tokens: 7,
    heads: 2,
    kvHeads: 1,
    headSize: 12,
    capacity: 67,
    full: true,
    bias: 't',
  }),
  attentionCase({
    batch: 2,
    tokens: 7,
    heads: 2,
    kvHeads: 1,
    headSize: 12,
    capacity: 9,
    full: true,
    bias: 'bt',
  }),
  attentionCase({
    batch: 2,
    tokens: 67,
    heads: 2,
    kvHeads: 2,
    headSize: 12,
    capacity: 67,
    bias: 'bht',
    window: 60,
  }),
  attentionCase({ tokens: 1, heads: 4, kvHeads: 1, headSize: 16, position: 99, capacity: 100, softcap: 0.5 }),
  attentionCase({
    tokens: 70,
    heads: 2,
    kvHeads: 1,
    headSize: 16,
    capacity: 70,
    softcap: 2,
    window: 30,
    bias: 'bht',
  }),
  // Sequences that stand at places of their own, of which one is left out.
  attentionCase({
    batch: 4,
    tokens: 1,
    heads: 4,
    kvHeads: 2,
    headSize: 16,
    capacity: 140,
    positions: [0, 130, -1, 67],
  }),
  attentionCase({
    batch: 3,
    tokens: 70,
    heads: 2,
    kvHeads: 1,
    headSize: 24,
    position: 2,
    capacity: 160,
    window: 66,
    positions: [88, 0, 31],
    sinks: true,
  }),
  attentionCase({ tokens: 1, heads: 6, kvHeads: 2, headSize: 32, position: 9, capacity: 64, sinks: true }),
  attentionCase({
    batch: 2,
    tokens: 9,
    heads: 2,
    kvHeads: 2,
    headSize: 8,
    capacity: 9,
    full: true,
    softcap: 3,
    sinks: true,
  }),
  // Keys and values in fewer bits.
  attentionCase({
    batch: 2,
    tokens: 1,
    heads: 6,
    kvHeads: 2,
    headSize: 64,
    position: 130,
    capacity: 150,
    dtype: 'float16',
  }),
  attentionCase({
    tokens: 70,
    heads: 2,
    kvHeads: 1,
    headSize: 20,
    capacity: 75,
    dtype: 'float16',
    window: 9,
  }),
  attentionCase({ tokens: 13, heads: 1, kvHeads: 1, headSize: 300, capacity: 13, dtype: 'float16' }),
  attentionCase({ tokens: 3, heads: 4, kvHeads: 2, headSize: 33, capacity: 9, dtype: 'float8_e4m3fn' }),
  withKey(-Infinity),
  withKey(NaN),
  withValue(NaN),
  withValue(Infinity),
]

/** One token after 2,048 of a model of 1 billion parameters, and a prompt. */
export const benchmarks: KernelCase[] = [
  attentionCase({ tokens: 1, heads: 32, kvHeads: 8, headSize: 64, position: 2047, capacity: 2048 }),
  attentionCase({ tokens: 512, heads: 32, kvHeads: 8, headSize: 64, capacity: 512 }),
]
