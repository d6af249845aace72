import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { isSavedFile } from '../../src/checkpoints/checkpoint.ts'
import { load } from '../../src/checkpoints/load.ts'
import { save } from '../../src/checkpoints/save.ts'
import { openDevice } from '../../src/devices/open.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'

/*
 * A save may replace what a save wrote before, and nothing else.
 */

const root = mkdtempSync(join(tmpdir(), 'lowbit-save-'))
after(() => rmSync(root, { recursive: true, force: true }))
const device = openDevice('cpu', { threads: 2 })
after(() => device.close())

class Net extends Module {
  fc1 = new Linear(8, 8)
  fc2 = new Linear(8, 8)
}
const net = (seed: number) => initialize(new Net(), device, { seed })

test('a project is not overwritten by a model', async () => {
  const folder = join(root, 'project')
  mkdirSync(join(folder, 'src'), { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{}')
  writeFileSync(join(folder, 'src/index.ts'), 'export {}')
  await assert.rejects(save(net(0), folder, { overwrite: true }), {
    name: 'FormatError',
    message: `save ${folder}: overwrite must find the files of a save alone; the folder also holds package.json, src/`,
  })
  assert.equal(readFileSync(join(folder, 'package.json'), 'utf8'), '{}')
  assert.deepEqual(readdirSync(join(folder, 'src')), ['index.ts'])
})

test('a language model, in one file or in shards, is overwritten by another', async () => {
  const stories = new URL('../../models/stories260K', import.meta.url).pathname
  const folder = join(root, 'stories')
  using model = await loadCausalLM(stories, { device })
  await save(model, folder, { maxShardBytes: 300_000 })
  assert.ok(readdirSync(folder).includes('model-00001-of-00004.safetensors'), readdirSync(folder).join())
  await assert.rejects(
    save(model, folder),
    /must be empty or not exist, unless overwrite is set; it holds config\.json, /,
  )
  await save(model, folder, { overwrite: true })
  assert.deepEqual(readdirSync(folder).sort(), [
    'config.json',
    'generation_config.json',
    'model.safetensors',
    'tokenizer.json',
    'tokenizer_config.json',
  ])
})

test('what transformers and quanto name their files belongs to a save, other names do not', () => {
  const names = [
    'chat_template.jinja',
    'special_tokens_map.json',
    'added_tokens.json',
    'quanto_qmap.json',
    'model.safetensors.index.json',
  ]
  assert.deepEqual(
    names.filter((name) => !isSavedFile(name)),
    [],
  )
  const others = [
    'LICENSE',
    'README.md',
    'model.ts',
    'my-model.safetensors',
    'model.safetensors.bak',
    'model-1-of-2.safetensors',
    'package.json',
  ]
  assert.deepEqual(others.filter(isSavedFile), [])
})

test('in memory, too, no part of an earlier save is left to be read in the place of the new one', async () => {
  const files = new Map([['notes.md', new Uint8Array(3)]])
  const [first, second] = [net(1), net(2)]
  await save(first, memoryFolder(files))
  await assert.rejects(save(second, memoryFolder(files), { maxShardBytes: 300 }), {
    name: 'FormatError',
    message: 'save: the folder must hold no saved model, unless overwrite is set; it holds model.safetensors',
  })
  await save(second, memoryFolder(files), { maxShardBytes: 300, overwrite: true })
  assert.deepEqual(
    [...files.keys()].filter((name) => !/^model-0000\d-of-0000\d\.safetensors$/.test(name)).sort(),
    ['model.safetensors.index.json', 'notes.md'],
  )
  const again = await load(new Net(), memoryFolder(files), { device })
  assert.deepEqual(await again.fc1.weight.toNumbers(), await second.fc1.weight.toNumbers())
})
