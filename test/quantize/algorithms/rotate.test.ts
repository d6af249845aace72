import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../../src/devices/open.ts'
import { loadCausalLM } from '../../../src/index.ts'
import type { CausalLM } from '../../../src/models/causalLM.ts'
import { type RotateOptions, rotate } from '../../../src/quantize/algorithms/rotate.ts'
import { rotateModel } from '../../../src/quantize/algorithms/rotateModel.ts'
import { Edits } from '../../../src/quantize/calibrated/edits.ts'
import { Tensor } from '../../../src/tensor/tensor.ts'
import { deviceNames } from '../../deviceNames.ts'
import { golden } from '../../golden.ts'
import { distanceOf } from '../structure/distance.ts'

/** Small models of every family. */
const folders = [
  ...readdirSync(join(golden, 'models')).map((name) => `models/${name}`),
  'shakespeare-gpt2-1M/float',
  '../../models/stories260K',
]

/** What cannot be turned, and the part of the model that is in the way. */
const refused: Readonly<Record<NonNullable<RotateOptions['hadamard']>, Readonly<Record<string, RegExp>>>> = {
  residual: {
    'models/bloom': /the weight of transformer\.word_embeddings_layernorm/,
    'models/gemma2': /the weight of model\.layers\.0\.post_attention_layernorm/,
    'models/gemma3': /the weight of model\.layers\.0\.post_attention_layernorm/,
    'models/olmo2': /the weight of model\.layers\.0\.post_attention_layernorm/,
    'models/opt-projected': /the weight of model\.decoder\.layers\.0\.self_attn_layer_norm/,
    'models/gpt_oss-mxfp4': /linear of model\.layers\.0\.mlp\.experts\.0\.gate_up_proj/,
  },
  head: { 'models/bitnet': /a layer must take the values of attention/ },
}

const ids = [3, 1, 4, 1, 5, 9, 2, 6]

for (const deviceName of deviceNames) {
  describe(`rotations of models on ${deviceName}`, () => {
    const device = openDevice(deviceName, { threads: 2 })
    after(async () => {
      assert.equal(device.allocatedBytes, 0, 'disposed models hold nothing')
      await device.close()
    })

    const logitsOf = async (model: CausalLM) => {
      using input = Tensor.fromArray(device, Int32Array.from(ids), [1, ids.length])
      using y = model.forward(input)
      return await y.toNumbers()
    }

    for (const folder of folders)
      for (const hadamard of ['residual', 'head'] as const)
        test(`${folder}, ${hadamard}`, async () => {
          using model = await loadCausalLM(join(golden, folder), { device, dtype: 'float32' })
          using input = Tensor.fromArray(device, Int32Array.from(ids), [1, ids.length])
          const before = await logitsOf(model)
          const tensors = new Set([...model.namedTensors()].map(([, tensor]) => tensor))
          const run = { model, device, edits: new Edits(model), example: [input] }
          const rotated = rotateModel(run, { hadamard })
          if (refused[hadamard][folder]) return assert.rejects(rotated, refused[hadamard][folder])
          await rotated
          assert.ok(distanceOf(before, await logitsOf(model)) < 1e-5, 'the same logits')
          const changed = [...model.namedTensors()].filter(([, tensor]) => !tensors.has(tensor))
          assert.ok(changed.length >= 4, 'by other weights')
          // One of them alone gives others.
          using original = await loadCausalLM(join(golden, folder), { device, dtype: 'float32' })
          const [path, tensor] = changed[0]
          const old = original.getParameter(path)
          original.setParameter(path, tensor)
          assert.ok(distanceOf(before, await logitsOf(original)) > 1e-3, 'other logits')
          // Without a run whoever changes a model gives back what it had.
          for (const tensor of [...tensors, old]) tensor.dispose()
        })

    test('options', () => {
      assert.throws(() => rotate({ hadamard: 'tail' as 'head' }), /hadamard must be residual or head/)
      assert.throws(() => rotate({ seed: -1 }), /seed must be a whole number/)
    })
  })
}
