import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ResNet20 } from '../../examples/cifar/resnet20.ts'
import { Random } from '../../src/core/random.ts'
import { openDevice } from '../../src/devices/open.ts'
import { JsonObject } from '../../src/formats/json.ts'
import {
  calibrate,
  compile,
  freeze,
  initialize,
  loadCausalLM,
  type Module,
  type QuantizeOptions,
  quantize,
  trace,
} from '../../src/index.ts'
import { GPT2LMHeadModel, parseGpt2Config } from '../../src/models/families/gpt2.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'

const device = openDevice('cpu', { threads: 1 })
after(() => device.close())

const variants: Record<string, QuantizeOptions | null> = {
  float: null,
  int4: { weights: 'int4' },
  'int8 with int8 activations': { weights: 'int8', activations: 'int8' },
}

/** Quantized as a variant says, with activations calibrated on `x`. */
async function quantized<M extends Module & { forward(x: Tensor): Tensor }>(
  model: M,
  options: QuantizeOptions | null,
  x: Tensor,
): Promise<M> {
  if (!options) return model
  quantize(model, options)
  if (options.activations) await calibrate(model, () => scope(() => void model.forward(x)))
  freeze(model)
  return model
}

/**
 * Fails unless graph and compiled list give what the model does, bit for bit, on inputs that they did not
 * see.
 */
async function replays(model: Module & { forward(x: Tensor): Tensor }, x: Tensor, others: Tensor[]) {
  using graph = trace(model, [x])
  using compiled = compile(model, [x])
  for (const other of [...others, x]) {
    const expected = await model.forward(other).read()
    assert.deepEqual(await (graph.run(other) as Tensor).read(), expected)
    assert.deepEqual(await (compiled.run(other) as Tensor).read(), expected)
  }
}

for (const [variant, options] of Object.entries(variants)) {
  describe(`graphs of models, ${variant}`, () => {
    const folder = fileURLToPath(new URL('../../models/stories260K', import.meta.url))
    const ids = (...numbers: number[]) =>
      Tensor.fromArray(device, Int32Array.from(numbers), [1, numbers.length])

    test('stories260K', async () => {
      const model = await loadCausalLM(folder, { device })
      await quantized(model, options, ids(1, 2, 3, 4))
      await replays(model, ids(1, 5, 9, 20), [ids(1, 403, 7, 255), ids(2, 2, 2, 2)])
      using graph = trace(model, [ids(1, 2)])
      // Five layers of seven projections, and the head.
      assert.equal(graph.find('linear').length, 5 * 7 + 1)
      assert.equal(graph.find('attention').length, 5)
      const [query] = graph.nodes
        .filter(({ module }) => module === 'model.layers.3.self_attn.q_proj')
        .slice(-1)
      assert.deepEqual(
        query.inputs.filter(({ kind }) => kind === 'parameter').map(({ name }) => name),
        ['model.layers.3.self_attn.q_proj.weight'],
      )
      // Every projection of a block is fed by the norm before it, through the rounding of activations if need
      // be.
      const sources = graph
        .find('linear')
        .filter(({ module }) => /layers\.3\.self_attn\.[qkv]_proj/.test(module))
        .map(({ inputs: [x] }) => (x.name === 'rmsNorm' ? x : x.inputs[0]))
      assert.equal(new Set(sources).size, 1)
      assert.equal(sources[0].module, 'model.layers.3.input_layernorm')
      model.dispose()
    })

    test('GPT-2', async () => {
      const sizes = { n_embd: 64, n_head: 4, n_layer: 2, n_positions: 16, vocab_size: 100 }
      const config = new JsonObject({ model_type: 'gpt2', ...sizes }, 'config.json')
      const model = initialize(new GPT2LMHeadModel(parseGpt2Config(config)), device, { seed: 4 }).eval()
      await quantized(model, options, ids(1, 2, 3, 4))
      await replays(model, ids(1, 5, 9, 20), [ids(99, 0, 7, 55)])
      using graph = trace(model, [ids(1, 2)])
      // Positions 0 and 1 of the table, and the tied table as the head.
      assert.equal(graph.find('valuesAt').length, 1)
      assert.equal(graph.find('layerNorm').length, 5)
      assert.ok(graph.parameters.has('transformer.wte.weight'))
      model.dispose()
    })

    test('ResNet-20', async () => {
      const random = new Random(1)
      const image = (batch: number) => {
        const values = Array.from({ length: batch * 3 * 32 * 32 }, () => random.normal())
        return Tensor.fromNumbers(device, values, [batch, 3, 32, 32])
      }
      const model = await quantized(initialize(new ResNet20(), device, { seed: 3 }).eval(), options, image(2))
      await replays(model, image(1), [image(1), image(1)])
      using graph = trace(model, [image(1)])
      assert.equal(graph.find('conv2d').length, 19)
      assert.equal(graph.find('batchNormInference').length, 19)
      assert.equal(graph.find('linear').length, 1)
      // Weights and statistics by their paths; of the forward pass itself, the zeros of two shortcuts.
      assert.equal(graph.constants.length, 2)
      model.dispose()
    })
  })
}
