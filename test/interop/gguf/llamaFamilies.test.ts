import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Client, installPeer } from '../../../bench/peers/client.ts'
import { openDevice } from '../../../src/devices/open.ts'
import { ggufBlockWriter } from '../../../src/formats/schemes/ggufBlockWriter.ts'
import type { CausalLM } from '../../../src/models/causalLM.ts'
import { generateTokens } from '../../../src/models/generate.ts'
import { loadCausalLM } from '../../../src/models/load.ts'
import { writtenGguf } from '../../models/writtenGguf.ts'

/*
 * llama.cpp runs the files that lowbit writes of the families that it has, too, and gives the tokens that
 * transformers gives; of Qwen3, Gemma 2, Gemma 3 and SmolLM3 the reference is the tokens that lowbit gives
 * for the GGUF file beside the model, which transformers has no greedy tokens of.
 */

const golden = join(import.meta.dirname, '../../golden/models')
const folder = mkdtempSync(join(tmpdir(), 'lowbit-families-'))
const device = openDevice()

before(() => assert.ok(installPeer(), 'node-llama-cpp and koffi must be installable'))
after(async () => {
  rmSync(folder, { recursive: true, force: true })
  await device.close()
})

/**
 * Without a tokenizer llama.cpp runs no model: one with a token for each of 47 letters, and a pair of them.
 */
const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
const letters = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstu']
const vocab = Object.fromEntries([...letters, 'ab'].map((text, id) => [text, id]))
const tokenizer = {
  version: '1.0',
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: byteLevel,
  post_processor: null,
  decoder: byteLevel,
  model: { type: 'BPE', unk_token: null, vocab, merges: [['a', 'b']] },
}

/**
 * Models of which llama.cpp takes something for granted that they have otherwise, such as how scores are
 * scaled: the GGUF file beside them is another model, whose logits are compared with transformers' elsewhere.
 */
const otherwise = ['qwen3', 'gemma2', 'gemma3', 'smollm3']
/**
 * What llama.cpp does not load: Command R with norms of queries and keys in fewer than 64 layers, and Phi-3
 * with a vocabulary that lacks its own special tokens.
 */
const notLoaded = ['cohere-normed', 'phi3', 'phi3-long']

for (const name of readdirSync(golden).filter(
  (name) => existsSync(join(golden, name, 'model.gguf')) && !notLoaded.includes(name),
)) {
  const isOther = otherwise.includes(name)
  test(`${name}: llama.cpp continues a text as ${isOther ? 'lowbit' : 'transformers'} does`, async () => {
    const { ids, greedy }: { ids: number[]; greedy: number[] } = JSON.parse(
      readFileSync(join(golden, name, 'expected.json'), 'utf8'),
    )
    const file = join(folder, `${name}.gguf`)
    const place = join(golden, name, isOther ? 'model.gguf' : '')
    using model = await loadCausalLM(place, {
      device,
      dtype: 'float32',
      onWarning: () => {},
      dequantize: isOther,
    })
    assert.ok(model.checkpoint)
    model.checkpoint = {
      ...model.checkpoint,
      files: new Map([['tokenizer.json', JSON.stringify(tokenizer)]]),
    }
    writeFileSync(file, await writtenGguf(model, ggufBlockWriter))
    using llama = await Client.peer(file)
    await llama.load()
    const setting = { threads: 2, flashAttention: false }
    const prompt = ids.slice(0, 6)
    const { tokenIds } = await llama.run({ prompt, newTokens: greedy.length, setting })
    const expected = isOther ? await tokensOf(model, prompt, greedy.length) : greedy
    assert.deepEqual(tokenIds, expected)
  })
}

async function tokensOf(model: CausalLM, prompt: number[], maxNewTokens: number): Promise<number[]> {
  const ids: number[] = []
  const options = { maxNewTokens, computeDtype: 'float32', stopAtEos: false } as const
  for await (const id of generateTokens(model, prompt, options)) ids.push(id)
  return ids
}
