import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { JsonObject } from '../../src/formats/json.ts'
import { ropeFields } from '../../src/models/families/ropeFields.ts'
import { inverseFrequencies, ropeAttentionFactor } from '../../src/nn/rope.ts'

interface Truth {
  rope_parameters: Record<string, unknown>
  inv_freq: number[]
  attention_factor: number
  length?: number
}

// What transformers computes; made by scripts/make-rope-fixture.py.
const truth: Record<string, Truth> = JSON.parse(
  readFileSync(new URL('../golden/rope.json', import.meta.url), 'utf8'),
)
const sizes = { headSize: 64, maxPositions: 131072 }

for (const [name, { rope_parameters, inv_freq, attention_factor, length }] of Object.entries(truth)) {
  for (const key of ['rope_parameters', 'rope_scaling']) {
    test(`rotary frequencies of transformers: ${name}, from ${key}`, () => {
      const { rope_theta, partial_rotary_factor } = rope_parameters
      // Earlier versions wrote these two beside the others.
      const beside = key === 'rope_scaling' ? { rope_theta, partial_rotary_factor } : {}
      const config = new JsonObject({ ...beside, [key]: rope_parameters }, 'config.json')
      const options = ropeFields(config, sizes, { partial: true })
      const frequencies = inverseFrequencies(options, length)
      assert.equal(frequencies.length, inv_freq.length)
      // Powers and blends of float32, each operation rounded: a few units in the last place.
      for (const [i, value] of inv_freq.entries()) {
        assert.ok(
          Math.abs(frequencies[i] / value - 1) < 4 * 2 ** -23,
          `frequency ${i}: ${frequencies[i]}, not ${value}`,
        )
      }
      assert.equal(ropeAttentionFactor(options.scaling), attention_factor)
    })
  }
}

test('what cannot be is refused', () => {
  const refuses = (fields: object, message: RegExp, partial = true) =>
    assert.throws(() => ropeFields(new JsonObject(fields, 'config.json'), sizes, { partial }), {
      name: 'FormatError',
      message,
    })
  refuses(
    { rope_scaling: { rope_type: 'ntk', factor: 2 } },
    /rope_scaling\.rope_type must be one of default, linear, dynamic, llama3, yarn, longrope, su; received "ntk"/,
  )
  refuses({ rope_scaling: { type: 'yarn', factor: 0 } }, /rope_scaling\.factor must be above 0; received 0/)
  refuses({ rope_scaling: { type: 'dynamic' } }, /rope_scaling\.factor must be a finite number/)
  refuses({ partial_rotary_factor: 1.5 }, /partial_rotary_factor must be at most 1; received 1\.5/)
  refuses(
    { partial_rotary_factor: 0.02 },
    /partial_rotary_factor must leave an even number of the 64 values of a head; it leaves 1/,
  )
  refuses(
    { rope_parameters: { partial_rotary_factor: 0.5 } },
    /rope_parameters\.partial_rotary_factor must be 1: these models turn whole heads; received 0\.5/,
    false,
  )
})
