import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { perplexity } from '../../src/evaluate/perplexity.ts'
import { JsonObject } from '../../src/formats/json.ts'
import { bytesSource } from '../../src/formats/source.ts'
import { LlamaForCausalLM, parseLlamaConfig } from '../../src/models/families/llama.ts'
import { planGguf } from '../../src/models/ggufPlan.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { Tokenizer } from '../../src/models/tokenizer.ts'
import { deviceNames } from '../deviceNames.ts'
import { fixtures } from '../formats/ggufBytes.ts'
import { kinds, loadGguf, storiesSource, withRopeFactors } from './ggufModel.ts'
import { type Expected, inputs } from './golden.ts'
import { checkGreedy, checkWeights, dequantized, logitsOf } from './goldenChecks.ts'

interface GgufExpected extends Expected {
  last_logits: number[]
  /** The first 16 rows of the last layer's key projection, dequantized, in Hugging Face's order. */
  k_proj_rows: string
}

/** What PyTorch computed with the dequantized weights. */
const expected: Record<string, GgufExpected> = JSON.parse(readFileSync(`${fixtures}stories260K.json`, 'utf8'))
const context = 128

for (const name of deviceNames) {
  describe(`GGUF on ${name}`, () => {
    const device = openDevice(name, { threads: 2 })
    after(async () => {
      assert.equal(device.allocatedBytes, 0, 'disposed models hold nothing')
      await device.close()
    })
    for (const kind of kinds) {
      test(`stories260K ${kind}: weights, logits, perplexity and tokens are PyTorch's`, async () => {
        const theirs = expected[kind]
        using model = await loadGguf(device, storiesSource(kind))
        await checkWeights(model, theirs, new Map())
        const rows = new Float32Array(new Uint8Array(Buffer.from(theirs.k_proj_rows, 'hex')).buffer)
        const ours16 = await dequantized(model, 'model.layers.4.self_attn.k_proj.weight')
        // By value: ggml gives a zero the sign of its code.
        for (const [i, value] of rows.entries())
          assert.ok(ours16[i] === value, `key projection, value ${i}: ${ours16[i]}, not ${value}`)
        const logits = (await logitsOf(model, inputs.prompt_ids)).slice(-512)
        // Logits reach 15; two float32 programs differ by some units in the seventh digit.
        for (const [i, logit] of logits.entries())
          assert.ok(
            Math.abs(logit - theirs.last_logits[i]) < 2e-5,
            `logit ${i}: ${logit}, ${theirs.last_logits[i]}`,
          )
        const ours = await perplexity(model, inputs.ppl_ids, { context })
        assert.ok(
          Math.abs(ours.perplexity / theirs.perplexity - 1) < 1e-6,
          `${ours.perplexity}, not ${theirs.perplexity}`,
        )
        assert.ok((await checkGreedy(model, theirs)) > 20)
      })
    }

    test('a tokenizer that is prepared while weights are read, sound or not', async () => {
      const file = readFileSync(`${fixtures}stories260K-q4_0.gguf`)
      using model = await loadCausalLM(new Blob([file]), { device, prepareTokenizer: true })
      assert.equal(model.tokenizer?.prepareStep(), false, 'nothing is left to do')
      const length = Buffer.from([2, 0, 0, 0, 0, 0, 0, 0])
      file.write('om', file.indexOf(Buffer.concat([length, Buffer.from('im')])) + length.length)
      await assert.rejects(loadCausalLM(new Blob([file]), { device, prepareTokenizer: true }), {
        name: 'FormatError',
        message: /must differ from each other; "om" is token 287 and 288/,
      })
    })

    test('a scale that is not finite is refused, with its place', async () => {
      for (const [kind, name] of [
        ['q4_0', 'blk.0.attn_v.weight'],
        ['q5_1', 'token_embd.weight'],
        ['q8_0', 'blk.2.ffn_up.weight'],
        ['q4_0', 'output_norm.weight'],
      ]) {
        const bytes = Uint8Array.from(readFileSync(`${fixtures}stories260K-${kind}.gguf`))
        const plan = await planGguf(bytesSource(bytes))
        const offset = offsets[`${kind} ${name}`]
        // Infinity, in float32 and in float16.
        bytes.set(name === 'output_norm.weight' ? [0, 0, 0x80, 0x7f] : [0, 0x7c], offset)
        const bad = plan.parameters.filter(({ path }) => path === paths[name])
        assert.equal(bad.length, 1)
        await assert.rejects(bad[0].load(device), { name: 'FormatError', byteOffset: offset, tensor: name })
        await plan.close()
      }
    })
  })
}

/** Where gguf.GGUFReader finds tensors. */
const offsets: Record<string, number> = {
  'q4_0 blk.0.attn_v.weight': 70272,
  'q5_1 token_embd.weight': 14336,
  'q8_0 blk.2.ffn_up.weight': 184000,
  'q4_0 output_norm.weight': 32768,
}
const paths: Record<string, string> = {
  'blk.0.attn_v.weight': 'model.layers.0.self_attn.v_proj.weight',
  'token_embd.weight': 'model.embed_tokens.weight',
  'blk.2.ffn_up.weight': 'model.layers.2.mlp.up_proj.weight',
  'output_norm.weight': 'model.norm.weight',
}

test('the plan says what each parameter is', async () => {
  const { parameters, scheme, model, name, close } = await planGguf(storiesSource('q4_0'))
  const kindOf = Object.fromEntries(parameters.map(({ path, kind }) => [path, kind]))
  assert.equal(scheme, 'gguf')
  assert.equal(name, 'q4_0')
  assert.equal(kindOf['model.embed_tokens.weight'], 'Q4_0 (qint4, groups of 32)')
  assert.equal(kindOf['lm_head.weight'], undefined, 'tied to the embedding')
  assert.equal(kindOf['model.layers.0.mlp.down_proj.weight'], 'float16')
  assert.equal(kindOf['model.layers.0.mlp.up_proj.weight'], 'Q4_0 (qint4, groups of 32)')
  assert.equal(kindOf['model.norm.weight'], 'float32')
  assert.match(String(model), /\(embed_tokens\): QEmbedding\(512, 64\)/)
  assert.match(String(model), /\(lm_head\): QLinear\(in_features=64, out_features=512, bias=False\)/)
  assert.match(String(model), /\(down_proj\): Linear\(in_features=172, out_features=64, bias=False\)/)
  await close()
})

test('the files that go with the model say the same as the metadata', async () => {
  const { model, close } = await planGguf(storiesSource('q8_0'))
  const files = model.checkpoint?.files ?? new Map()
  const json = (file: string) => {
    const text = files.get(file) ?? 'null'
    return JSON.parse(typeof text === 'string' ? text : text())
  }
  assert.deepEqual(parseLlamaConfig(new JsonObject(model.checkpoint?.config, 'config.json')), model.config)
  assert.deepEqual(model.eosTokenIds, [2])
  assert.deepEqual(json('generation_config.json'), { bos_token_id: 1, eos_token_id: [2], pad_token_id: null })
  const again = await Tokenizer.fromJson(json('tokenizer.json'), json('tokenizer_config.json'))
  assert.deepEqual(again.encode(inputs.prompt), inputs.prompt_ids)
  await close()
})

test('factors of the rotary frequencies are a part of the configuration', async () => {
  const factors = [1, 2, 4, 8]
  const longer = withRopeFactors(readFileSync(`${fixtures}stories260K-q4_0.gguf`), factors)
  const { model, close } = await planGguf(bytesSource(longer))
  assert.ok(model instanceof LlamaForCausalLM)
  const lists = { shortFactors: factors, longFactors: factors, originalMaxPositions: 512, attentionFactor: 1 }
  assert.deepEqual(model.config.rope.scaling, { type: 'longrope', ...lists })
  await close()
})
