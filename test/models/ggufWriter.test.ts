import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { fileSource } from '../../src/formats/file.node.ts'
import { openGguf } from '../../src/formats/gguf.ts'
import { ggufBlockWriter } from '../../src/formats/schemes/ggufBlockWriter.ts'
import { quanto } from '../../src/formats/schemes/quanto.ts'
import type { SchemeWriter } from '../../src/formats/schemes/scheme.ts'
import { bytesSource, type Folder, memoryFolder } from '../../src/formats/source.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { deviceNames } from '../deviceNames.ts'
import { golden } from '../golden.ts'
import { kinds, storiesSource } from './ggufModel.ts'
import { writtenGguf } from './writtenGguf.ts'

const device = openDevice(deviceNames[0], { threads: 2 })
after(() => device.close())

/** Qwen2 whose layers all see all tokens. */
function qwen2(): Folder {
  const folder = join(golden, 'families/qwen2')
  const files = new Map(
    readdirSync(folder).map((name) => [name, new Uint8Array(readFileSync(join(folder, name)))]),
  )
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))
  const { layer_types: _, ...others } = { ...config, use_sliding_window: false }
  return memoryFolder(files.set('config.json', Buffer.from(JSON.stringify(others))), 'qwen2')
}

const models = {
  stories260K: 'lowbit/models/stories260K',
  'shakespeare-gpt2-1M': join(golden, 'shakespeare-gpt2-1M/float'),
  mistral: join(golden, 'families/mistral'),
  qwen2: qwen2(),
}
const load = (place: string | Folder) => loadCausalLM(place, { device, onWarning: () => {} })
const floats = (model: CausalLM) => writtenGguf(model, quanto.writer as SchemeWriter)

const logitsOf = async (model: CausalLM) => {
  using logits = model.forward([1, 5, 9, 2, 30, 7, 7, 4])
  return logits.toNumbers()
}

for (const [name, place] of Object.entries(models)) {
  test(`${name}: what is written and read again computes the same`, async () => {
    using model = await load(place)
    using back = await loadCausalLM(new Blob([await floats(model)]), { device })
    assert.equal(back.constructor, model.constructor)
    // Files hold float32.
    const { normEpsilon } = model.config as unknown as { normEpsilon: number }
    assert.deepEqual(back.config, { ...model.config, normEpsilon: Math.fround(normEpsilon) })
    assert.deepEqual(await logitsOf(back), await logitsOf(model))
  })
}

/** Files that llama.cpp's own tools wrote, and the Python library. */
const quantizedFiles = [
  ...kinds.map((kind) => join(golden, `gguf/stories260K-${kind}.gguf`)),
  ...['q2_k', 'q4_k', 'q5_k', 'q6_k'].map((kind) =>
    join(golden, `shakespeare-gpt2-1M/gguf-${kind}/shakespeare-gpt2-1M-${kind}.gguf`),
  ),
]

for (const path of quantizedFiles) {
  test(`${basename(path)}: read and written again, every tensor has its bytes`, async () => {
    using model = await load(path)
    const written = await openGguf(bytesSource(await writtenGguf(model, ggufBlockWriter), 'written'))
    const expected = await openGguf(await fileSource(path))
    assert.deepEqual([...written.tensors.keys()].sort(), [...expected.tensors.keys()].sort())
    for (const [name, { dtype }] of expected.tensors) {
      assert.equal(written.tensors.get(name)?.dtype, dtype, name)
      const [found, wanted] = [await written.read(name), await expected.read(name)]
      assert.ok(Buffer.from(found).equals(wanted), name)
    }
    await expected.close()
  })
}

test('a model that llama.cpp computes otherwise is refused', async () => {
  using model = await load(join(golden, 'families/qwen2'))
  await assert.rejects(floats(model), {
    name: 'FormatError',
    message: "gguf: llama.cpp's Qwen2 must have layers that see all tokens; the model does not",
  })
})

const texts = [
  'Once upon a time, there was a little girl.',
  'ROMEO:\n  What light  is this?\n\n1234 äöü “—” 🦙',
  '<s> and </s> and <|endoftext|> inside',
]

for (const name of ['stories260K', 'shakespeare-gpt2-1M'] as const) {
  test(`${name}: its tokenizer reads texts as before`, async () => {
    using model = await load(models[name])
    using back = await loadCausalLM(new Blob([await floats(model)]), { device })
    for (const text of texts)
      assert.deepEqual(back.tokenizer?.encode(text), model.tokenizer?.encode(text), text)
  })
}

test('metadata and tensors are those that the Python library writes for this model', async () => {
  using model = await load(models.stories260K)
  const written = await openGguf(bytesSource(await floats(model), 'written'))
  const expected = await openGguf(storiesSource('q8_0'))
  for (const key of expected.metadata.keys()) {
    if (key === 'general.file_type') continue
    const list = JSON.stringify(expected.metadata.get(key))
    assert.equal(JSON.stringify(written.metadata.get(key)), list, key)
  }
  assert.equal(written.metadata.count('general.file_type'), 0)
  const lists = (file: typeof written) => ({
    tokens: file.metadata.strings('tokenizer.ggml.tokens'),
    types: file.metadata.numbers('tokenizer.ggml.token_type'),
  })
  assert.deepEqual(lists(written), lists(expected))
  const shapes = (file: typeof written) =>
    [...file.tensors.values()].map(({ name, shape }) => [name, shape]).sort()
  assert.deepEqual(shapes(written), shapes(expected))
  // Norms are floats in both; the rows of the others are compared by what is computed with them.
  for (const [path, { dtype }] of expected.tensors)
    if (dtype === 'float32')
      assert.deepEqual(Buffer.from(await written.read(path)), Buffer.from(await expected.read(path)), path)
})
