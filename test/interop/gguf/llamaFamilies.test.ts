import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Client, installPeer } from '../../../bench/peers/client.ts'
import { openDevice } from '../../../src/devices/open.ts'
import { ggufBlockWriter } from '../../../src/formats/schemes/ggufBlockWriter.ts'
import { loadCausalLM } from '../../../src/models/load.ts'
import { writtenGguf } from '../../models/writtenGguf.ts'

/*
 * llama.cpp runs the files that lowbit writes of the families that it has, too, and gives the tokens that
 * transformers gives.
 */

const golden = join(import.meta.dirname, '../../golden/models')
const folder = mkdtempSync(join(tmpdir(), 'lowbit-families-'))
const device = openDevice()

before(() => assert.ok(installPeer(), 'node-llama-cpp and koffi must be installable'))
after(async () => {
  rmSync(folder, { recursive: true, force: true })
  await device.close()
})

/** Without a tokenizer llama.cpp runs no model: one with a token for each of 47 letters, and a pair of them. */
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

for (const name of readdirSync(golden).filter((name) => existsSync(join(golden, name, 'model.gguf')))) {
  test(`${name}: llama.cpp continues a text as transformers does`, async () => {
    const { ids, greedy } = JSON.parse(readFileSync(join(golden, name, 'expected.json'), 'utf8'))
    const file = join(folder, `${name}.gguf`)
    using model = await loadCausalLM(join(golden, name), { device, dtype: 'float32' })
    assert.ok(model.checkpoint)
    model.checkpoint = {
      ...model.checkpoint,
      files: new Map([['tokenizer.json', JSON.stringify(tokenizer)]]),
    }
    writeFileSync(file, await writtenGguf(model, ggufBlockWriter))
    using llama = Client.llama(file)
    await llama.load()
    const setting = { threads: 2, flashAttention: false }
    const { tokenIds } = await llama.run({ prompt: ids.slice(0, 6), newTokens: greedy.length, setting })
    assert.deepEqual(tokenIds, greedy)
  })
}
