import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { Random } from '../../../src/core/random.ts'
import { openDevice } from '../../../src/devices/open.ts'
import { loadCausalLM } from '../../../src/index.ts'
import { trace } from '../../../src/nn/trace.ts'
import { Edits } from '../../../src/quantize/calibrated/edits.ts'
import { type Feed, Structure } from '../../../src/quantize/structure/feeds.ts'
import { scaleFeed } from '../../../src/quantize/structure/scaleFeed.ts'
import { Tensor } from '../../../src/tensor/tensor.ts'
import { deviceNames } from '../../deviceNames.ts'
import { golden } from '../../golden.ts'
import { distanceOf } from './distance.ts'

/** Small models of every family. */
const folders = [
  ...readdirSync(join(golden, 'models')).map((name) => `models/${name}`),
  'shakespeare-gpt2-1M/float',
  '../../models/stories260K',
]

/** What feeds what in the second layer, as the families' papers draw them: the names of the modules alone. */
const expected: Readonly<Record<string, readonly string[]>> = {
  // Four heads share a key and a value, so that values have no factors of their own.
  '../../models/stories260K': [
    'input_layernorm > q_proj k_proj v_proj',
    'post_attention_layernorm > gate_proj up_proj',
    'up_proj > down_proj',
  ],
  // GELU lets no factor pass.
  'shakespeare-gpt2-1M/float': ['ln_1 > c_attn', 'c_attn > c_proj', 'ln_2 > c_fc'],
  'models/opt': [
    'self_attn_layer_norm > q_proj k_proj v_proj',
    'v_proj > out_proj',
    'final_layer_norm > fc1',
    'fc1 > fc2',
  ],
  'models/gptj': ['ln_1 > q_proj k_proj v_proj fc_in', 'v_proj > out_proj'],
  'models/falcon-rw': [
    'input_layernorm > query_key_value',
    'query_key_value > dense',
    'post_attention_layernorm > dense_h_to_4h',
  ],
  'models/phi3': [
    'input_layernorm > qkv_proj',
    'post_attention_layernorm > gate_up_proj',
    'gate_up_proj > down_proj',
  ],
  // What is normalized behind a layer is added to the stream.
  'models/olmo2': ['up_proj > down_proj'],
  'models/bitnet': [
    'input_layernorm > q_proj k_proj v_proj',
    'attn_sub_norm > o_proj',
    'post_attention_layernorm > gate_proj up_proj',
    'ffn_sub_norm > down_proj',
  ],
  'models/mixtral': [
    'input_layernorm > q_proj k_proj v_proj',
    'post_attention_layernorm > gate w1 w3 w1 w3 w1 w3 w1 w3',
    'w3 > w2',
    'w3 > w2',
    'w3 > w2',
    'w3 > w2',
  ],
}

const ids = [3, 1, 4, 1, 5, 9, 2, 6]
const nameOf = (path: string) => path.slice(path.lastIndexOf('.') + 1)
const nameOfFeed = ({ from, to }: Feed) => `${nameOf(from)} > ${to.map(nameOf).join(' ')}`

for (const deviceName of deviceNames) {
  describe(`feeds on ${deviceName}`, () => {
    const device = openDevice(deviceName, { threads: 2 })
    after(() => device.close())

    for (const folder of folders) {
      test(folder, async () => {
        using model = await loadCausalLM(join(golden, folder), { device, dtype: 'float32' })
        using input = Tensor.fromArray(device, Int32Array.from(ids), [1, ids.length])
        const logits = async () => {
          using y = model.forward(input)
          return await y.toNumbers()
        }
        const feeds = () => {
          using graph = trace(model, [input])
          return new Structure(model, graph).feeds()
        }
        const found = feeds()
        const second = found.filter(({ from }) => /(layers|h)\.1\./.test(from)).map(nameOfFeed)
        if (expected[folder]) assert.deepEqual(second, expected[folder])
        assert.ok(found.length > 0)
        const before = await logits()
        const edits = new Edits(model)
        const random = new Random(1)
        const scale = (feed: Feed) => {
          const factors = Float32Array.from(feed.channels, () => 2 ** (4 * random.uniform() - 2))
          using tensor = Tensor.fromArray(device, factors)
          scaleFeed(model, edits, feed, tensor)
        }
        for (const feed of found) scale(feed)
        assert.ok(distanceOf(before, await logits()) < 1e-5, 'the same logits')
        // A layer that is left out is found.
        scale({ ...found[0], to: found[0].to.slice(1) })
        assert.ok(distanceOf(before, await logits()) > 1e-3, 'other logits')
      })
    }
  })
}
