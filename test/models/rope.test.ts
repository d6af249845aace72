import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { JsonObject } from '../../src/formats/json.ts'
import { parseLlamaConfig } from '../../src/models/families/llama.ts'
import { inverseFrequencies } from '../../src/nn/rope.ts'

// What transformers computes; made by scripts/make-rope-fixture.py.
const truth: Record<string, { rope_parameters: object; inv_freq: number[] }> = JSON.parse(
  readFileSync(new URL('../golden/rope.json', import.meta.url), 'utf8'),
)
const sizes = {
  hidden_size: 512,
  intermediate_size: 1024,
  num_hidden_layers: 1,
  num_attention_heads: 8,
  head_dim: 64,
  vocab_size: 32,
}

for (const [name, { rope_parameters, inv_freq }] of Object.entries(truth)) {
  for (const key of ['rope_parameters', 'rope_scaling']) {
    test(`rotary frequencies of transformers: ${name}, from ${key}`, () => {
      const { rope_theta } = rope_parameters as { rope_theta: number }
      const config = parseLlamaConfig(
        new JsonObject({ ...sizes, rope_theta, [key]: rope_parameters }, 'config.json'),
      )
      const frequencies = inverseFrequencies({
        size: config.headSize,
        theta: config.ropeTheta,
        scaling: config.ropeScaling,
      })
      assert.equal(frequencies.length, inv_freq.length)
      // Powers and blends of float32, each operation rounded: a few units in the last place.
      for (const [i, value] of inv_freq.entries()) {
        assert.ok(
          Math.abs(frequencies[i] / value - 1) < 4 * 2 ** -23,
          `frequency ${i}: ${frequencies[i]}, not ${value}`,
        )
      }
    })
  }
}
