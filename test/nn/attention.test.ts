import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { Attention, type AttentionOptions, type AttentionParts } from '../../src/nn/attention.ts'
import { withoutCache } from '../../src/nn/attentionCache.ts'
import { Linear } from '../../src/nn/linear.ts'
import { LayerNorm } from '../../src/nn/normalization.ts'
import { RMSNorm } from '../../src/nn/rmsNorm.ts'
import type { RopeOptions } from '../../src/nn/rope.ts'
import { RotaryEmbedding } from '../../src/nn/rotary.ts'
import { keep, scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'
import { readExpected } from '../models/golden.ts'

interface Case {
  options: Omit<AttentionOptions, 'layer'>
  rope: Omit<RopeOptions, 'theta' | 'scaling'>
  parts(linear: (outputs: number, inputs: number, bias?: boolean) => Linear): AttentionParts
  names: ConstructorParameters<typeof Attention>[2]['parts']
}

const split = { q: 'q_proj', k: 'k_proj', v: 'v_proj', output: 'o_proj' }
const heads = { heads: 4, keyValueHeads: 2 }

/** Attention as the families of scripts/make-block-fixtures.py have it. */
const cases: Record<string, Case> = {
  qwen3: {
    options: { ...heads, headSize: 6 },
    rope: { size: 6 },
    parts: (linear) => ({
      q: linear(24, 16),
      k: linear(12, 16),
      v: linear(12, 16),
      output: linear(16, 24),
      qNorm: new RMSNorm(6, 1e-6),
      kNorm: new RMSNorm(6, 1e-6),
    }),
    names: { ...split, qNorm: 'q_norm', kNorm: 'k_norm' },
  },
  phi: {
    options: { heads: 2, keyValueHeads: 2, headSize: 8 },
    rope: { size: 4 },
    parts: (linear) => ({
      q: linear(16, 16, true),
      k: linear(16, 16, true),
      v: linear(16, 16, true),
      output: linear(16, 16, true),
      qNorm: new LayerNorm(8, { eps: 1e-5 }),
      kNorm: new LayerNorm(8, { eps: 1e-5 }),
    }),
    names: { ...split, output: 'dense', qNorm: 'q_layernorm', kNorm: 'k_layernorm' },
  },
  phi3: {
    options: { heads: 2, keyValueHeads: 1, headSize: 8, window: 3 },
    rope: { size: 6 },
    parts: (linear) => ({ qkv: linear(32, 16), output: linear(16, 16) }),
    names: { qkv: 'qkv_proj', output: 'o_proj' },
  },
  gemma2: {
    options: { ...heads, headSize: 6, scale: 1 / Math.sqrt(20), softcap: 0.5 },
    rope: { size: 6 },
    parts: (linear) => ({
      q: linear(24, 16),
      k: linear(12, 16),
      v: linear(12, 16),
      output: linear(16, 24),
    }),
    names: split,
  },
  glm: {
    options: { ...heads, headSize: 8 },
    rope: { size: 4, interleaved: true },
    parts: (linear) => ({
      q: linear(32, 16),
      k: linear(16, 16),
      v: linear(16, 16),
      output: linear(16, 32),
    }),
    names: split,
  },
}

const tensors = await readExpected(join(import.meta.dirname, '../golden/blocks.safetensors'))

for (const deviceName of deviceNames) {
  describe(`attention on ${deviceName}`, () => {
    const device = openDevice(deviceName, { threads: 2 })
    after(async () => {
      assert.equal(device.allocatedBytes, 0, 'disposed layers hold nothing')
      await device.close()
    })
    for (const [name, { options, rope, parts, names }] of Object.entries(cases)) {
      test(`that of ${name}, as transformers computes it`, async () => {
        const linear = (outputs: number, inputs: number, bias = false) =>
          new Linear(inputs, outputs, { bias })
        const block = new Attention(parts(linear), { layer: 0, ...options }, { type: name, parts: names })
        for (const [path, { shape }] of [...block.namedParameters()]) {
          const values = tensors.get(`${name}.${path}`) ?? assert.fail(`${name}.${path}`)
          block.setParameter(path, Tensor.fromArray(device, values, shape))
        }
        const rotary = new RotaryEmbedding({ theta: 10000, scaling: { type: 'default' }, ...rope })
        const [x, y] = ['x', 'y'].map((key) => tensors.get(`${name}.${key}`) ?? assert.fail(key))
        using input = Tensor.fromArray(device, x, [1, 7, x.length / 7])
        rotary.prepare(device, 7)
        const context = { cache: withoutCache, position: 0, rotary }
        using output = scope(() => keep(block.forward(input, context)))
        const ours = await output.toNumbers()
        // Float32 through two products and a softmax: 20 epsilon of the whole output.
        const bound = 20 * 2 ** -23 * Math.hypot(...y)
        for (const [i, value] of y.entries())
          assert.ok(Math.abs(ours[i] - value) <= bound, `value ${i}: ${ours[i]}, not ${value}`)
        block.dispose()
        rotary.dispose()
      })
    }
  })
}
