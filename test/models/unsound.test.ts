import assert from 'node:assert/strict'
import { after, mock, test } from 'node:test'
import { save } from '../../src/checkpoints/save.ts'
import { openDevice } from '../../src/devices/open.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import { generate } from '../../src/models/generate.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { copyOf, inputs, manifest, pythonFolder } from './golden.ts'

/*
 * A checkpoint that is unsound in what the model does not need is used, and what is ignored is said.
 */

const device = openDevice('cpu', { threads: 2 })
after(() => device.close())

type Json = Record<string, unknown>

/** The embedded model with changed JSON files. */
async function changed(changes: Record<string, (json: Json) => void>): Promise<Map<string, Uint8Array>> {
  const files = await copyOf(pythonFolder('float'))
  for (const [name, change] of Object.entries(changes)) {
    const json = JSON.parse(Buffer.from(files.get(name) ?? '{}').toString())
    change(json)
    files.set(name, Buffer.from(JSON.stringify(json)))
  }
  return files
}

async function loaded(files: Map<string, Uint8Array>) {
  const warnings: string[] = []
  const model = await loadCausalLM(memoryFolder(files), {
    device,
    onWarning: (message) => void warnings.push(message),
  })
  return { model, warnings }
}

test('special tokens that the vocabulary does not have', async () => {
  const files = await changed({
    'config.json': (json) => Object.assign(json, { eos_token_id: -1, pad_token_id: -1 }),
    'generation_config.json': (json) => Object.assign(json, { eos_token_id: [2, 512, null] }),
  })
  const { model, warnings } = await loaded(files)
  assert.deepEqual(model.eosTokenIds, [2])
  const rule = "eos_token_id must hold ids below the vocabulary's size (512)"
  assert.deepEqual(warnings, [
    `memory/config.json: ${rule}; ignored: [-1]`,
    `memory/generation_config.json: ${rule}; ignored: [512,null]`,
  ])
  model.dispose()
})

test('a token more than the embedding has: text without it is used, text with it is refused', async () => {
  const files = await changed({
    'tokenizer.json': (json) => {
      const added = json.added_tokens as Json[]
      added.push({ ...added[0], id: 512, content: '<pad>', special: true })
    },
  })
  const { model, warnings } = await loaded(files)
  assert.deepEqual(warnings, [
    "memory/tokenizer.json: token ids must stay below the model's vocabulary (512); the largest is 512, so text with such tokens cannot be used",
  ])
  // What transformers gives.
  const { tokenIds } = await generate(model, inputs.prompt, { maxNewTokens: 10 })
  assert.deepEqual(tokenIds, manifest.variants.float.greedy_ids.slice(0, 10))
  await assert.rejects(generate(model, 'Once<pad>', { parseSpecialTokens: true }), {
    name: 'ShapeError',
    message: /token ids must lie in 0\.\.511; received 512/,
  })
  model.dispose()
})

test('biases that config.json promises and the file does not have count as 0', async () => {
  const plain = await loaded(await changed({}))
  assert.deepEqual(plain.warnings, [])
  const { model, warnings } = await loaded(
    await changed({ 'config.json': (json) => Object.assign(json, { attention_bias: true }) }),
  )
  const listed = ['q', 'k', 'v', 'o'].map((name) => `model.layers.0.self_attn.${name}_proj.bias`).join(', ')
  assert.deepEqual(warnings, [
    `memory/model.safetensors: must hold every bias that the model has; ${listed} and 16 more is missing and counts as 0`,
  ])
  const logits = await Promise.all([model, plain.model].map((one) => one.forward([1, 2, 3]).toNumbers()))
  assert.deepEqual(logits[0], logits[1])
  // Saved and loaded again, as every folder.
  const folder = memoryFolder()
  await save(model, folder)
  using again = await loadCausalLM(folder, { device, onWarning() {} })
  assert.deepEqual(await again.forward([1, 2, 3]).toNumbers(), logits[0])
  model.dispose()
  plain.model.dispose()
})

test('a weight that is missing is refused still', async () => {
  const files = await changed({ 'config.json': (json) => Object.assign(json, { num_hidden_layers: 6 }) })
  await assert.rejects(loaded(files), /model\.layers\.5\.self_attn\.q_proj\.weight is missing/)
})

test('without onWarning they are said by console.warn', async () => {
  const warn = mock.method(console, 'warn', () => {})
  const files = await changed({
    'generation_config.json': (json) => Object.assign(json, { eos_token_id: 512 }),
  })
  const model = await loadCausalLM(memoryFolder(files), { device })
  model.dispose()
  assert.equal(warn.mock.callCount(), 1)
  assert.match(
    String(warn.mock.calls[0].arguments[0]),
    /^lowbit: memory\/generation_config\.json: eos_token_id must hold ids/,
  )
  warn.mock.restore()
})
