import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { perplexity } from '../../src/evaluate/perplexity.ts'
import { fileSource } from '../../src/formats/file.node.ts'
import { openGguf } from '../../src/formats/gguf.ts'
import type { ChatMessage } from '../../src/models/chatTemplate.ts'
import { generateTokens } from '../../src/models/generate.ts'
import { planGguf } from '../../src/models/ggufPlan.ts'
import { deviceNames } from '../deviceNames.ts'
import { fixtures } from '../formats/ggufBytes.ts'
import { loadGguf } from '../models/ggufModel.ts'
import { fetchModel } from './fetchModel.ts'

/** What transformers computed with the dequantized weights, and the ids of the library `tokenizers`. */
const expected: {
  prompt_ids: number[]
  window_ids: number[]
  window_nll: number[]
  greedy_ids: number[]
  greedy_margins: number[]
  chat: ChatMessage[]
  chat_text: string
} = JSON.parse(readFileSync(`${fixtures}smollm2.json`, 'utf8'))
const tokens: { lines: string[]; smollm2: number[][] } = JSON.parse(
  readFileSync(`${fixtures}tokens.json`, 'utf8'),
)

const path = fetchModel()

describe('SmolLM2-135M-Instruct', { timeout: 600_000 }, () => {
  test('the header with its 98,052 strings is read in little time', async () => {
    const times: number[] = []
    for (let i = 0; i < 5; i++) {
      const started = performance.now()
      const file = await openGguf(await fileSource(path))
      assert.equal(file.metadata.strings('tokenizer.ggml.tokens').length, 49152)
      assert.equal(file.metadata.strings('tokenizer.ggml.merges').length, 48900)
      times.push(performance.now() - started)
      await file.close()
    }
    // The best of some, since other programs run too.
    assert.ok(Math.min(...times) < 100, `${times}`)
  })

  test('token ids and the chat prompt are those of Python', async () => {
    const { model, close } = await planGguf(await fileSource(path))
    const { tokenizer } = model
    assert.ok(tokenizer)
    for (const [i, line] of tokens.lines.entries()) {
      assert.deepEqual(tokenizer.encode(line), tokens.smollm2[i], JSON.stringify(line))
      assert.equal(tokenizer.decode(tokens.smollm2[i], { skipSpecialTokens: false }), line)
    }
    assert.equal(await tokenizer.applyChatTemplate(expected.chat), expected.chat_text)
    // <|im_end|>, which the file names, and <|endoftext|>, at which llama.cpp ends by its text
    // (src/llama-vocab.cpp).
    assert.deepEqual(model.eosTokenIds, [2, 0])
    await close()
  })

  for (const name of deviceNames) {
    test(`logits, greedy tokens and perplexity are PyTorch's on ${name}`, async () => {
      const device = openDevice(name, { threads: 2 })
      after(() => device.close())
      using model = await loadGguf(device, await fileSource(path))
      using last = model.forward(expected.prompt_ids, { lastOnly: true })
      const logits = await last.read()
      const theirs = new Float32Array(new Uint8Array(readFileSync(`${fixtures}smollm2-logits.bin`)).buffer)
      assert.equal(logits.length, theirs.length)
      // Logits reach 22; over 30 layers two float32 programs differ in the sixth digit.
      for (const [i, logit] of theirs.entries())
        assert.ok(Math.abs(Number(logits[i]) - logit) < 2e-4, `logit ${i}: ${logits[i]}, not ${logit}`)
      const ids: number[] = []
      for await (const id of generateTokens(model, expected.prompt_ids, {
        maxNewTokens: 40,
        stopAtEos: false,
        computeDtype: 'float32',
      }))
        ids.push(id)
      assert.ok(Math.min(...expected.greedy_margins) > 2e-3, 'no near tie')
      assert.deepEqual(ids, expected.greedy_ids)
      // WebAssembly is slower: one window says as much.
      for (const [window, nll] of expected.window_nll.slice(0, name === 'wasm' ? 1 : 2).entries()) {
        const ours = await perplexity(model, expected.window_ids.slice(512 * window, 512 * (window + 1)), {
          context: 512,
        })
        // Python's figures have seven digits.
        assert.ok(Math.abs(ours.nll - nll) < 2e-6, `window ${window}: ${ours.nll}, not ${nll}`)
      }
    })
  }
})
