import assert from 'node:assert/strict'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { roundHalfEven, roundTo } from '../../src/core/halves.ts'
import { Random } from '../../src/core/random.ts'
import type { Device } from '../../src/devices/device.ts'
import { epsilon, normals } from '../../src/kernels/inputs.ts'
import type { CacheKind } from '../../src/models/caches/cacheKind.ts'
import { floatCache } from '../../src/models/caches/floatCache.ts'
import { type CacheType, makeCache } from '../../src/models/caches/index.ts'
import { KVCache } from '../../src/models/caches/kvCache.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { generate } from '../../src/models/generate.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { add, expand, mul, reduce } from '../../src/tensor/ops/index.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from '../tensor/devices.ts'

const stories = fileURLToPath(new URL('../../models/stories260K', import.meta.url))
const prompt = Array.from({ length: 300 }, (_, i) => (i * 31 + 7) % 512)

/** Layers, heads and head size as the tests below have them: two runs a head, of 64 and of 16 values. */
const sizes = [{ keyValueHeads: 2, headSize: 80 }]
const [B, T, H, KV, D] = [2, 140, 4, 2, 80]

/** A cache of codes, as the test has it. */
interface Format {
  kv: 'int8' | 'int4'
  residual: number
  /** Tokens that share the scales of keys. */
  groupTokens: number
}

/** Which values of x [B, T, KV, D] share a scale: runs of 64 of a token, or each value over some tokens. */
function groupsOf(groupTokens: number): number[][] {
  const groups = new Map<string, number[]>()
  for (let i = 0; i < B * T * KV * D; i++) {
    const [row, d] = [Math.floor(i / D), i % D]
    const [b, t, h] = [Math.floor(row / KV / T), Math.floor(row / KV) % T, row % KV]
    const key = groupTokens > 0 ? [b, h, Math.floor(t / groupTokens), d] : [row, Math.floor(d / 64)]
    const group = groups.get(String(key)) ?? []
    group.push(i)
    groups.set(String(key), group)
  }
  // An incomplete group has no codes yet.
  return [...groups.values()].filter(({ length }) => groupTokens === 0 || length === groupTokens)
}

/** x [B, T, KV, D] as the codes stand for it, by hand, and half a step of each value. */
function rounded(x: Float32Array, kv: 'int8' | 'int4', groupTokens: number) {
  const [values, half] = [new Float32Array(x.length), new Float32Array(x.length)]
  for (const group of groupsOf(groupTokens)) {
    const members = group.map((i) => x[i])
    const most = Math.max(...members.map(Math.abs))
    const [least, range, low, high] =
      kv === 'int8'
        ? [0, most, -127, 127]
        : [Math.min(...members), Math.max(...members) - Math.min(...members), 0, 15]
    const step = roundTo('float16', Math.fround(Math.fround(range) / high))
    for (const i of group) {
      const code = roundHalfEven(Math.fround(Math.fround(x[i] - least) / step))
      values[i] = least + Math.min(Math.max(code, low), high) * step
      // The code may be one beside where the quotient lies within a rounding of the middle, and the step is
      // too small for the largest value by a rounding to float16.
      half[i] = step * (0.5 + 2 * high * epsilon) + range * 2 ** -11
    }
  }
  return { values, half }
}

/**
 * What each query [B, T, H] sees of keys and values [B, T, KV], in float64: those `residual` tokens before as
 * codes; and how far that may lie from attention over floats. A score moves by δ = scale·Σ|q|·half a step at
 * most, a weight by a factor of e^±2δ, a value by half a step.
 */
function reference([q, k, v]: Float32Array[], { kv, residual, groupTokens }: Format) {
  const [keys, values] = [rounded(k, kv, groupTokens), rounded(v, kv, 0)]
  const result = {
    y: new Float64Array(q.length),
    floats: new Float64Array(q.length),
    bound: new Float64Array(q.length),
  }
  for (let b = 0; b < B; b++)
    for (let t = 0; t < T; t++)
      for (let h = 0; h < H; h++) {
        const at = ((b * T + t) * H + h) * D
        const row = (j: number) => ((b * T + j) * KV + Math.floor((h * KV) / H)) * D
        const old = (j: number) => j <= t - residual
        const dot = (key: Float32Array, j: number) => {
          let sum = 0
          for (let d = 0; d < D; d++) sum += q[at + d] * key[row(j) + d]
          return sum / Math.sqrt(D)
        }
        const weights = (scores: number[]) => {
          const exps = scores.map(Math.exp)
          const total = exps.reduce((a, b) => a + b)
          return exps.map((one) => one / total)
        }
        const tokens = Array.from({ length: t + 1 }, (_, j) => j)
        const coded = weights(tokens.map((j) => dot(old(j) ? keys.values : k, j)))
        const plain = weights(tokens.map((j) => dot(k, j)))
        let delta = 0
        for (const j of tokens.filter(old)) {
          let sum = 0
          for (let d = 0; d < D; d++) sum += Math.abs(q[at + d]) * keys.half[row(j) + d]
          delta = Math.max(delta, sum / Math.sqrt(D))
        }
        for (const j of tokens)
          for (let d = 0; d < D; d++) {
            const i = row(j) + d
            result.y[at + d] += coded[j] * (old(j) ? values.values : v)[i]
            result.floats[at + d] += plain[j] * v[i]
            result.bound[at + d] += plain[j] * Math.abs(v[i]) * (Math.exp(2 * delta) - 1)
            if (old(j)) result.bound[at + d] += coded[j] * values.half[i]
          }
      }
  return result
}

/** Tokens first … end - 1 of x [B, T, heads, D]. */
const part = (device: Device, x: Float32Array, heads: number, first: number, end: number) =>
  Tensor.fromArray(
    device,
    Float32Array.from({ length: B * (end - first) * heads * D }, (_, i) => {
      const size = (end - first) * heads * D
      return x[Math.floor(i / size) * T * heads * D + first * heads * D + (i % size)]
    }),
    [B, end - first, heads, D],
  )

const formats: Format[] = [
  { kv: 'int8', residual: 9, groupTokens: 0 },
  { kv: 'int4', residual: 9, groupTokens: 0 },
  { kv: 'int4', residual: 70, groupTokens: 64 },
]
for (const format of formats) {
  const name = `a cache in ${format.kv}, ${format.residual} tokens in full`
  testOnDevices(`${name}: old tokens rounded, however a text is cut`, async (device) => {
    const random = new Random(3)
    // What float16 holds exactly.
    const [q, k, v] = [H, KV, KV].map((heads) =>
      normals(random, B * T * heads * D).map((value) => roundTo('float16', value)),
    )
    const { y, floats, bound } = reference([q, k, v], format)
    const largest = (x: Float32Array) => x.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
    // A score is a sum of D products; a weight errs relatively by as much, and the values' sum by a little
    // more.
    const tolerance = 8 * epsilon * (1 + largest(q) * largest(k) * Math.sqrt(D)) * largest(v)
    const odd = [3, 5, 64, 1, 1, 16, 50]
    const all: [cuts: number[], asking: number][] = [
      [[T], T],
      [Array(T).fill(1), T],
      [[...odd], T],
    ]
    // Of each call the last tokens alone ask.
    const few: typeof all = [
      [[T], 1],
      [[...odd], 2],
    ]
    for (const [cuts, asking] of [...all, ...few]) {
      const cache = makeCache(device, sizes, T, { kv: format.kv, batch: B, residual: format.residual })
      for (let first = 0; first < T; ) {
        const end = first + cuts[0]
        const asks = Math.max(first, end - asking)
        const seen = scope(() => {
          const [a, b, c] = [
            part(device, q, H, asks, end),
            part(device, k, KV, first, end),
            part(device, v, KV, first, end),
          ]
          return cache.attend(0, a, b, c, { position: first, scale: 1 / Math.sqrt(D) })
        })
        const got = await seen.toNumbers()
        seen.dispose()
        for (const [i, value] of got.entries()) {
          const size = (end - asks) * H * D
          const at = Math.floor(i / size) * T * H * D + asks * H * D + (i % size)
          assert.ok(Math.abs(value - y[at]) <= tolerance, `${cuts.length} calls: ${value}, expected ${y[at]}`)
          assert.ok(Math.abs(value - floats[at]) <= bound[at] + tolerance)
        }
        cuts.push(cuts.shift() as number)
        first = end
      }
      cache.dispose()
    }
  })
}

testOnDevices('bytes of caches, counted by hand', (device) => {
  const bytes = (options: object, capacity = 200) => {
    const cache = makeCache(device, Array(3).fill(sizes[0]), capacity, options)
    cache.dispose()
    return cache.bytes
  }
  // Keys and values of three layers, two heads each: 80 floats a token.
  assert.equal(bytes({ kv: 'float32' }), 2 * 3 * 2 * 200 * 80 * 4)
  assert.equal(bytes({ kv: 'float16' }), 2 * 3 * 2 * 200 * 80 * 2)
  assert.equal(bytes({ kv: 'float8' }), 2 * 3 * 2 * 200 * 80)
  // Tokens of 80 bytes and two scales, the last 128 of 80 halves.
  assert.equal(bytes({ kv: 'int8' }), 2 * 3 * 2 * (200 * (80 + 2 * 2) + 128 * 80 * 2))
  assert.equal(bytes({ kv: 'int8', residual: 0, batch: 2 }), 2 * 3 * 2 * 2 * 200 * (80 + 2 * 2))
  // 40 bytes and two scales and shifts for values; keys have 80 of each for 64 tokens, here four times.
  const [keys, values] = [200 * 40 + 4 * 80 * 2 * 2, 200 * (40 + 2 * 2 * 2)]
  assert.equal(bytes({ kv: 'int4' }), 3 * 2 * (keys + values + 2 * 128 * 80 * 2))
  // A window: no more than its tokens, whatever the context.
  const windowed = (kv: CacheType, window: number) => {
    const cache = makeCache(device, [{ keyValueHeads: 2, headSize: 80, window }], 100000, { kv })
    cache.dispose()
    return cache.bytes
  }
  assert.equal(windowed('float16', 500), 2 * 2 * 500 * 80 * 2)
  assert.equal(windowed('int4', 100), 2 * 2 * 100 * 80 * 2)
  // A window of 500 and a call of 128, in whole groups of 64: 640 tokens of 80 bytes and two scales.
  assert.equal(windowed('int8', 500), 2 * 2 * (640 * (80 + 2 * 2) + 128 * 80 * 2))
})

testOnDevices(
  'codes of a window take the places of older ones, and give what all codes give',
  async (device) => {
    const [window, length, heads, size] = [75, 460, 2, 16]
    for (const { kv, residual } of formats) {
      // The layer that knows its window, and one that holds all codes and hides those before the window.
      const make = (window?: number) =>
        makeCache(device, [{ keyValueHeads: 1, headSize: size, window }], length, { kv, residual })
      const [some, all] = [make(window), make()]
      assert.ok(some.bytes < all.bytes, `${some.bytes} of ${all.bytes} bytes`)
      assert.deepEqual([some.longestCall, all.longestCall], [256 - window, Infinity])
      const random = new Random(5)
      let largest = 0
      for (let first = 0, calls = 0; first < length; calls++) {
        const tokens = Math.min([1, 64, 7, 128, some.longestCall][calls % 5], length - first)
        const made = (count: number) =>
          Tensor.fromArray(device, normals(random, tokens * count * size), [1, tokens, count, size])
        const attended = scope(() => {
          const [q, k, v] = [made(heads), made(1), made(1)]
          const options = { position: first, scale: 1 / Math.sqrt(size), window }
          return [some, all].map((cache) => cache.attend(0, q, k, v, options))
        })
        const [got, wanted] = [await attended[0].toNumbers(), await attended[1].toNumbers()]
        for (const one of attended) one.dispose()
        for (const [i, value] of got.entries()) {
          // Sums of some hundred terms in another order.
          assert.ok(
            Math.abs(value - wanted[i]) < 100 * epsilon,
            `${kv}, from ${first}: ${value}, ${wanted[i]}`,
          )
          largest = Math.max(largest, Math.abs(value))
        }
        first += tokens
      }
      assert.ok(largest > 0.1)
      for (const cache of [some, all]) cache.dispose()
    }
  },
)

testOnDevices(
  'a prompt longer than a windowed layer takes at once gives what its parts give',
  async (device) => {
    const folder = mkdtempSync(join(tmpdir(), 'lowbit-windows-'))
    const gemma = new URL('../golden/models/gemma3/', import.meta.url)
    for (const name of ['model.safetensors', 'config.json'])
      copyFileSync(new URL(name, gemma), join(folder, name))
    const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, max_position_embeddings: 512 }))
    const model = await loadCausalLM(folder, { device })
    const ids = Array.from({ length: 300 }, (_, i) => (i * 31 + 7) % 48)
    const logits = async (cut: number) => {
      const cache = model.createCache(400, { kv: 'int4', residual: 2 })
      // A window of 5 and a call of 128, in groups of 64.
      assert.equal(cache.longestCall, 192 - 5)
      const values: number[] = []
      for (let start = 0; start < ids.length; start += cut) {
        using part = model.forward(ids.slice(start, start + cut), { cache })
        values.push(...(await part.toNumbers()))
      }
      assert.deepEqual([cache.length, cache.tokenIds[0]], [300, ids])
      cache.dispose()
      return values
    }
    const [whole, parts] = [await logits(300), await logits(50)]
    assert.equal(whole.length, 300 * 48)
    for (const [i, value] of whole.entries())
      assert.ok(
        Math.abs(value - parts[i]) < 1e-4 * Math.max(1, Math.abs(value)),
        `${i}: ${value}, ${parts[i]}`,
      )
    model.dispose()
    rmSync(folder, { recursive: true })
  },
)

/** Floats with a uniform error of at most half a step of int8: what rounding does, without rounding. */
function noisyCache(): CacheKind<never, 'tokens' | 'codes' | 'scale' | 'recent'> {
  const random = new Random(9)
  const noisy = (x: Tensor) => {
    const { shape } = x
    const most = reduce('absmax', x)
    const noise = Float32Array.from({ length: x.numel }, () => (random.uniform() - 0.5) / 127)
    const steps = expand(most.view([...most.shape, 1]), shape)
    return add(x, mul(Tensor.fromArray(x.device, noise, shape), steps))
  }
  const floats = floatCache('float32')
  return {
    ...floats,
    attend: (layer, q, k, v, ...options) => floats.attend(layer, q, noisy(k), noisy(v), ...options),
  }
}

testOnDevices('logits with a cache in int8 stray as far as its steps say', async (device) => {
  const model = await loadCausalLM(stories, { device })
  const [{ headSize }] = model.cacheLayers
  // A head of 8 values is one group, so that the largest of a head makes its step.
  assert.equal(headSize, 8)
  const noisy = KVCache.make(noisyCache(), device, model.cacheLayers, {
    capacity: 300,
    batch: 1,
    residual: 0,
  })
  const logits = async (cache: KVCache) => {
    const y = model.forward(prompt, { cache })
    const values = Array.from(await y.toNumbers())
    for (const one of [y, cache]) one.dispose()
    return values
  }
  const floats = await logits(model.createCache(300, { kv: 'float32' }))
  const stray = (values: number[]) =>
    Math.sqrt(values.reduce((sum, value, i) => sum + (value - floats[i]) ** 2, 0) / values.length)
  const [int8, noise] = [
    await logits(model.createCache(300, { kv: 'int8', residual: 0 })),
    await logits(noisy),
  ].map(stray)
  assert.ok(int8 > noise / 1.5 && int8 < 1.5 * noise, `${int8} by int8, ${noise} by noise of its steps`)
  // With the last 128 tokens in full, less: nothing beside float16 before there are more.
  const full = await logits(model.createCache(300, { kv: 'int8' }))
  assert.ok(stray(full) > 0 && stray(full) < int8)
  const before = 128 * model.config.vocabularySize
  const size = floats.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  const halves = await logits(model.createCache(300, { kv: 'float16' }))
  assert.ok(full.slice(0, before).every((value, i) => Math.abs(value - halves[i]) < 1e-5 * size))
  model.dispose()
  assert.equal(device.allocatedBytes, 0)
})

testOnDevices(
  'generation with caches in few bits: kept steps give what single calls give',
  async (device) => {
    const model = await loadCausalLM(stories, { device })
    for (const kv of ['float16', 'float8', 'int8', 'int4'] as const) await generatesAlike(model, kv)
    await assert.rejects(generate(model, prompt, { kv: 'int3' as 'int8' }), {
      message: 'generate: kv must be float32, float16, float8, int8 or int4; received "int3"',
    })
    model.dispose()
    assert.equal(device.allocatedBytes, 0)
  },
)

/** `generate` gives the tokens that a forward pass for each gives. */
async function generatesAlike(model: CausalLM, kv: CacheType): Promise<void> {
  const start = prompt.slice(0, 150)
  const { tokenIds } = await generate(model, start, { kv, maxNewTokens: 60, stopAtEos: false })
  const cache = model.createCache(210, { kv })
  const expected: number[] = []
  let logits = model.forward(start, { cache, lastOnly: true })
  while (expected.length < 60) {
    const values = await logits.toNumbers()
    logits.dispose()
    expected.push(values.indexOf(Math.max(...values)))
    logits = model.forward(expected.slice(-1), { cache })
  }
  for (const one of [logits, cache]) one.dispose()
  assert.deepEqual(tokenIds, expected)
}
