import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { save } from '../../src/checkpoints/save.ts'
import { qint8 } from '../../src/core/qtype.ts'
import { Random } from '../../src/core/random.ts'
import { openDevice } from '../../src/devices/open.ts'
import { perplexity } from '../../src/evaluate/perplexity.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { JsonObject } from '../../src/formats/json.ts'
import { type FolderSink, memoryFolder } from '../../src/formats/source.ts'
import { GPT2LMHeadModel, parseGpt2Config } from '../../src/models/families/gpt2.ts'
import { generateTokens } from '../../src/models/generate.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { Conv1D, QConv1D } from '../../src/nn/gptConv1D.ts'
import { crossEntropyLoss } from '../../src/nn/losses.ts'
import { dequantize } from '../../src/quantize/dequantize.ts'
import { freeze, quantizationMap, quantize } from '../../src/quantize/quantize.ts'
import { absmax } from '../../src/quantize/quantizers.ts'
import { backward } from '../../src/tensor/backward.ts'
import { mul, slice, sum } from '../../src/tensor/ops/index.ts'
import { noGrad } from '../../src/tensor/tape.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'
import { goldenItem, golden as root } from '../golden.ts'
import { forwardGpt2 } from './float64Gpt2.ts'
import { copyOf, readExpected } from './golden.ts'
import { checkLogits, logitsOf } from './goldenChecks.ts'

const golden = join(root, 'shakespeare-gpt2-1M')

interface Item {
  id: string
  expected: { perplexity: number; greedy_ids: number[]; greedy_text: string; greedy_margins: number[] }
}

interface Gradients {
  tokens: number
  loss: number
  gradients: Record<string, { norm: number; first: number[] }>
}

const readJson = (path: string) => JSON.parse(readFileSync(path, 'utf8'))
const itemOf = (variant: string) => goldenItem<Item>(`shakespeare-gpt2-1M/${variant}`)

for (const name of deviceNames) {
  describe(`GPT-2 on ${name}`, () => {
    const device = openDevice(name, { threads: 2 })
    after(async () => {
      assert.equal(device.allocatedBytes, 0, 'disposed models hold nothing')
      await device.close()
    })
    const inputs: { prompt: string; prompt_ids: number[]; ppl_ids: number[] } = readJson(
      join(golden, 'inputs.json'),
    )
    const load = () => loadCausalLM(diskFolder(join(golden, 'float')), { device })

    test('logits, perplexity and greedy tokens of transformers', async () => {
      using model = await load()
      const { expected } = itemOf('float')
      const weights = await readExpected(join(golden, 'float/model.safetensors'))
      const truth = forwardGpt2({ heads: 4, layers: 4, epsilon: 1e-5, weights }, inputs.prompt_ids)
      const python = (await readExpected(join(golden, 'expected/float.safetensors'))).get('prompt_logits')
      assert.ok(python)
      const errors = checkLogits(await logitsOf(model, inputs.prompt_ids), python, truth)
      console.log(
        `logits on ${name}: error ${errors.ours.toExponential(1)}, PyTorch's ${errors.python.toExponential(1)}`,
      )
      const { perplexity: ours } = await perplexity(model, inputs.ppl_ids, { context: 256 })
      assert.ok(
        Math.abs(ours / expected.perplexity - 1) < 1e-5,
        `perplexity ${ours}, not ${expected.perplexity}`,
      )
      const ids: number[] = []
      for await (const id of generateTokens(model, inputs.prompt_ids, {
        maxNewTokens: 40,
        stopAtEos: false,
        computeDtype: 'float32',
      }))
        ids.push(id)
      assert.deepEqual(ids, expected.greedy_ids)
      assert.equal(model.tokenizer?.decode(ids), expected.greedy_text)
    })

    test('tokens of the prompt and of the text', async () => {
      using model = await load()
      assert.deepEqual(model.tokenizer?.encode(inputs.prompt), inputs.prompt_ids)
      const text = readFileSync(join(golden, 'ppl_text.txt'), 'utf8')
      assert.deepEqual(model.tokenizer?.encode(text).slice(0, inputs.ppl_ids.length), inputs.ppl_ids)
    })

    test('by default its Conv1D layers are quantized, too, a scale for each output', async () => {
      using model = await load()
      quantize(model, { weights: 'int8', exclude: 'lm_head' })
      assert.equal(Object.keys(quantizationMap(model)).length, 16)
      assert.match(String(model), /\(c_attn\): QConv1D\(nf=384, nx=128\)/)
      const layer = model.getModule('transformer.h.1.mlp.c_fc')
      assert.ok(layer instanceof QConv1D)
      freeze(model)
      const frozen = layer.quantizedWeight()
      // Each output's largest magnitude is code ±127.
      const float = (await readExpected(join(golden, 'float/model.safetensors'))).get(
        'transformer.h.1.mlp.c_fc.weight',
      )
      assert.ok(float)
      using scale = frozen.scale()
      using dequantized = frozen.dequantize()
      const [scales, values] = [await scale.toNumbers(), await dequantized.toNumbers()]
      for (let n = 0; n < 512; n++) {
        const column = Array.from({ length: 128 }, (_, k) => float[k * 512 + n])
        const expected = Math.fround(Math.max(...column.map(Math.abs)) / 127)
        assert.equal(scales[n], expected)
        for (const [k, value] of column.entries())
          assert.ok(Math.abs(values[n * 128 + k] - value) <= expected / 2 + 1e-7)
      }
      const { perplexity: ours } = await perplexity(model, inputs.ppl_ids, { context: 256 })
      assert.ok(Math.abs(ours / itemOf('float').expected.perplexity - 1) < 0.01, `perplexity ${ours}`)
    })

    test('saved and loaded, its quantized Conv1D layers compute the same', async () => {
      for (const weights of ['int8', 'int4'] as const) {
        using model = await load()
        quantize(model, { weights })
        freeze(model)
        const files = new Map<string, Uint8Array>()
        await save(model, memoryFolder(files) as FolderSink)
        using again = await loadCausalLM(memoryFolder(files), { device })
        assert.deepEqual(quantizationMap(again), quantizationMap(model))
        assert.deepEqual(await logitsOf(again, inputs.prompt_ids), await logitsOf(model, inputs.prompt_ids))
        using atOnce = await loadCausalLM(diskFolder(join(golden, 'float')), {
          device,
          quantization: { method: 'quanto', weights },
        })
        const logits = await logitsOf(model, inputs.prompt_ids)
        assert.deepEqual(await logitsOf(atOnce, inputs.prompt_ids), logits)
        using floats = await loadCausalLM(memoryFolder(files), { device, dequantize: true })
        dequantize(model)
        assert.deepEqual(Object.keys(quantizationMap(floats)), [])
        assert.match(String(floats), /\(c_attn\): Conv1D\(nf=384, nx=128\)/)
        const dequantized = await logitsOf(floats, inputs.prompt_ids)
        assert.deepEqual(dequantized, await logitsOf(model, inputs.prompt_ids))
        // The same numbers multiplied, in another order.
        const largest = Math.max(...logits.map(Math.abs))
        for (const [i, value] of logits.entries())
          assert.ok(Math.abs(dequantized[i] - value) <= 1e-5 * largest, `logit ${i}`)
      }
    })

    test("OpenAI's names, without the prefix, and a mask among the tensors", async () => {
      const files = await copyOf(diskFolder(join(golden, 'float')))
      const bytes = Buffer.from(files.get('model.safetensors') ?? [])
      const end = 8 + Number(bytes.readBigUInt64LE(0))
      const header = bytes.toString('utf8', 8, end).replaceAll('"transformer.', '"').trimEnd()
      const size = bytes.length - end
      const withMask = header.replace(
        /\}$/,
        `,"h.0.attn.bias":{"dtype":"F32","shape":[1],"data_offsets":[${size},${size + 4}]}}`,
      )
      bytes.write(withMask.padEnd(end - 8), 8)
      files.set('model.safetensors', Buffer.concat([bytes, Buffer.alloc(4)]))
      using model = await loadCausalLM(memoryFolder(files), { device })
      using other = await load()
      assert.deepEqual(await logitsOf(model, inputs.prompt_ids), await logitsOf(other, inputs.prompt_ids))
    })

    test('loss and gradients of PyTorch', async () => {
      using model = await load()
      const expected: Gradients = readJson(join(import.meta.dirname, '../golden/gpt2-gradients.json'))
      for (const parameter of model.parameters())
        if (parameter instanceof Tensor) parameter.requiresGrad = true
      const ids = inputs.ppl_ids.slice(0, expected.tokens)
      using loss = backward(() =>
        crossEntropyLoss(slice(model.forward(ids), 1, 0, -1).view([ids.length - 1, 1024]), ids.slice(1)),
      )
      const [ours] = await loss.toNumbers()
      // Both sides are float32 logits of a loss near 4.6, and what lies behind float64.
      assert.ok(Math.abs(ours - expected.loss) <= 1e-6 * expected.loss, `loss ${ours}, not ${expected.loss}`)
      for (const [path, { norm, first }] of Object.entries(expected.gradients)) {
        const parameter = model.getParameter(path)
        assert.ok(parameter instanceof Tensor && parameter.grad, path)
        const values = await parameter.grad.toNumbers()
        // Float32 through four layers: 20 epsilon of the whole gradient, for its norm and each of its values.
        const bound = 20 * 2 ** -23 * norm
        let squares = 0
        for (const value of values) squares += value * value
        assert.ok(
          Math.abs(Math.sqrt(squares) - norm) <= bound,
          `${path}: norm ${Math.sqrt(squares)}, not ${norm}`,
        )
        for (const [i, value] of first.entries())
          assert.ok(Math.abs(values[i] - value) <= bound, `${path}[${i}]: ${values[i]}, not ${value}`)
      }
    })

    test('a quantized Conv1D that is not frozen computes as one of its dequantized weight, and trains as it', async () => {
      const random = new Random(7)
      const numbers = (count: number) => Float32Array.from({ length: count }, () => random.normal())
      const tensor = (values: ArrayLike<number>, shape: number[]) => Tensor.fromNumbers(device, values, shape)
      const [weight, bias, x, dy] = [numbers(64 * 24), numbers(24), numbers(5 * 64), numbers(5 * 24)]
      const layer = new Conv1D(24, 64)
      layer.weight = tensor(weight, [64, 24])
      layer.bias = tensor(bias, [24])
      const twin = new QConv1D(layer, { qtype: qint8, groupSize: null, quantizer: absmax })
      for (const parameter of [layer.weight, layer.bias]) parameter.requiresGrad = true
      using input = tensor(x, [5, 64])
      input.requiresGrad = true
      using weights = tensor(dy, [5, 24])
      using loss = backward(() => sum(mul(twin.forward(input), weights)))
      using quiet = noGrad(() => twin.forward(input))
      const y = await quiet.toNumbers()
      // By hand: each output's weights in steps of its largest / 127.
      const steps = Array.from(
        { length: 24 },
        (_, n) => Math.max(...Array.from({ length: 64 }, (_, k) => Math.abs(weight[k * 24 + n]))) / 127,
      )
      const rounded = weight.map((value, i) => Math.round(value / steps[i % 24]) * steps[i % 24])
      const close = (ours: number, theirs: number, what: string) =>
        assert.ok(Math.abs(ours - theirs) <= 64 * 2 ** -23 * 8, `${what}: ${ours}, not ${theirs}`)
      let total = 0
      for (let m = 0; m < 5; m++) {
        for (let n = 0; n < 24; n++) {
          let dot = bias[n]
          for (let k = 0; k < 64; k++) dot += x[m * 64 + k] * rounded[k * 24 + n]
          close(y[m * 24 + n], dot, `y[${m},${n}]`)
          total += dot * dy[m * 24 + n]
        }
      }
      close((await loss.toNumbers())[0] / 120, total / 120, 'loss')
      const [dw, db, dx] = await Promise.all(
        [layer.weight.grad, layer.bias.grad, input.grad].map(async (grad) => grad?.toNumbers() ?? []),
      )
      for (let k = 0; k < 64; k++)
        for (let n = 0; n < 24; n++) {
          let dot = 0
          for (let m = 0; m < 5; m++) dot += x[m * 64 + k] * dy[m * 24 + n]
          close(dw[k * 24 + n], dot, `dw[${k},${n}]`)
        }
      for (let n = 0; n < 24; n++)
        close(
          db[n],
          [0, 1, 2, 3, 4].reduce((s, m) => s + dy[m * 24 + n], 0),
          `db[${n}]`,
        )
      for (let m = 0; m < 5; m++)
        for (let k = 0; k < 64; k++) {
          let dot = 0
          for (let n = 0; n < 24; n++) dot += dy[m * 24 + n] * rounded[k * 24 + n]
          close(dx[m * 64 + k], dot, `dx[${m},${k}]`)
        }
      layer.dispose()
    })

    test('more tokens than there are positions', async () => {
      using model = await load()
      assert.throws(() => model.forward(new Array(257).fill(1)), {
        name: 'ShapeError',
        message: /the model has 256 positions; received 257 tokens/,
      })
      const prompt = new Array(257).fill(1)
      await assert.rejects(
        generateTokens(model, prompt).next(),
        /must fit into the model's context of 256 tokens; received 257/,
      )
    })
  })
}

describe('config.json of GPT-2', () => {
  const config = (fields: object) => {
    return parseGpt2Config(
      new JsonObject(
        { n_embd: 64, n_layer: 2, n_head: 4, vocab_size: 100, n_positions: 32, ...fields },
        'config.json',
      ),
    )
  }
  test('what it leaves out', () => {
    const { intermediateSize, activation, tieWordEmbeddings, headSize, normEpsilon } = config({})
    assert.deepEqual(
      { intermediateSize, activation, tieWordEmbeddings, headSize, normEpsilon },
      {
        intermediateSize: 256,
        activation: 'gelu_new',
        tieWordEmbeddings: true,
        headSize: 16,
        normEpsilon: 1e-5,
      },
    )
    assert.match(String(new GPT2LMHeadModel(config({ n_inner: 96 }))), /\(c_fc\): Conv1D\(nf=96, nx=64\)/)
  })
  for (const [fields, says] of [
    [{ n_head: 5 }, /config\.json: n_head must divide n_embd \(64\)/],
    [{ activation_function: 'maxout' }, /config\.json: activation_function must be gelu, /],
    [{ add_cross_attention: true }, /config\.json: add_cross_attention must be false/],
    [{ scale_attn_weights: false }, /config\.json: scale_attn_weights must be true/],
  ] as const) {
    test(`refuses ${JSON.stringify(fields)}`, () => {
      assert.throws(
        () => config(fields),
        (error: Error) => error.name === 'FormatError' && says.test(error.message),
      )
    })
  }
})
