import assert from 'node:assert/strict'
import { initialize } from '../../src/nn/initialize.ts'
import { MultiheadAttention } from '../../src/nn/multiheadAttention.ts'
import { scaledDotProductAttention } from '../../src/tensor/ops/index.ts'
import { testOnDevices } from '../tensor/devices.ts'
import { compareWithDifferences } from '../tensor/differences.ts'

/** softmax(q·kᵀ/√D)·v for q [B, H, T, D], k and v [B, KV, S, D], in float64. */
function attend(
  q: Float64Array,
  k: Float64Array,
  v: Float64Array,
  [B, H, KV, T, S, D]: number[],
  causal = false,
): Float64Array {
  const y = new Float64Array(q.length)
  for (let head = 0; head < B * H; head++)
    for (let t = 0; t < T; t++) {
      const shared = (Math.floor(head / H) * KV + Math.floor(((head % H) * KV) / H)) * S
      const weights = Array.from({ length: causal ? t + 1 : S }, (_, s) => {
        let dot = 0
        for (let d = 0; d < D; d++) dot += q[(head * T + t) * D + d] * k[(shared + s) * D + d]
        return Math.exp(dot / Math.sqrt(D))
      })
      const total = weights.reduce((sum, one) => sum + one, 0)
      for (const [s, weight] of weights.entries())
        for (let d = 0; d < D; d++) y[(head * T + t) * D + d] += (weight / total) * v[(shared + s) * D + d]
    }
  return y
}

/** dy·v, and times k: products of two normal values each, where probabilities' gradients cancel. */
const inner = 8

testOnDevices('attention over all keys and over those before, heads that share keys', async (device) => {
  const shapes = (S: number) => [
    [2, 4, 3, 2],
    [2, 2, S, 2],
    [2, 2, S, 2],
  ]
  await compareWithDifferences(
    device,
    'all',
    shapes(5),
    (q, k, v) => scaledDotProductAttention(q, k, v),
    (q, k, v) => attend(q, k, v, [2, 4, 2, 3, 5, 2]),
    { inner },
  )
  await compareWithDifferences(
    device,
    'causal',
    shapes(3),
    (q, k, v) => scaledDotProductAttention(q, k, v, { isCausal: true }),
    (q, k, v) => attend(q, k, v, [2, 4, 2, 3, 3, 2], true),
    { inner },
  )
})

testOnDevices('multi-head attention: projections, heads, and back together', async (device) => {
  const [E, H, T] = [4, 2, 3]
  const layer = initialize(new MultiheadAttention(E, H, { batchFirst: true }), device, { seed: 5 })
  assert.deepEqual(
    [...layer.namedParameters()].map(([path]) => path),
    ['in_proj_weight', 'in_proj_bias', 'out_proj.weight', 'out_proj.bias'],
  )
  const [out, outBias] = await Promise.all([
    layer.out_proj.weight.toNumbers(),
    layer.out_proj.bias?.toNumbers(),
  ])
  const rest = [layer.in_proj_weight, layer.in_proj_bias]
  // x [1, T, E], and the projections' weight and bias in the layer's place.
  await compareWithDifferences(
    device,
    'multi-head',
    [[1, T, E], [3 * E, E], [3 * E]],
    (x, weight, bias) => {
      Object.assign(layer, { in_proj_weight: weight, in_proj_bias: bias })
      return layer.forward(x)
    },
    (x, weight, bias) => {
      // [H, T, D] of projection `part`.
      const project = (part: number) => {
        const y = new Float64Array(T * E)
        for (let t = 0; t < T; t++)
          for (let n = 0; n < E; n++) {
            let sum = bias[part * E + n]
            for (let k = 0; k < E; k++) sum += x[t * E + k] * weight[(part * E + n) * E + k]
            y[(Math.floor(n / 2) * T + t) * 2 + (n % 2)] = sum
          }
        return y
      }
      const y = attend(project(0), project(1), project(2), [1, H, H, T, T, E / H])
      return Array.from({ length: T * E }, (_, i) => {
        const [t, n] = [Math.floor(i / E), i % E]
        let sum = outBias?.[n] ?? 0
        for (let k = 0; k < E; k++) sum += y[(Math.floor(k / 2) * T + t) * 2 + (k % 2)] * out[n * E + k]
        return sum
      })
    },
    { inner },
  )
  for (const tensor of rest) tensor?.dispose()
  layer.out_proj.dispose()
  assert.equal(device.allocatedBytes, 0)
})
