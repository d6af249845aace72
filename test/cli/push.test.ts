import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { HubServer } from '../formats/hubServer.ts'
import { copyOf, editJson, golden, json, lowbit, printed, stories, temporaryFolder } from './lowbit.ts'

const root = temporaryFolder()
const server = await new HubServer().listen()
Object.assign(process.env, {
  HF_ENDPOINT: server.url,
  HF_HUB_CACHE: join(root, 'cache'),
  HF_HOME: join(root, 'home'),
  HF_TOKEN: server.token,
})
delete process.env.HF_HUB_OFFLINE

test('a quantized folder is pushed with a card, and computes by its id on the hub as before', async () => {
  const folder = join(golden, 'quanto-qint4')
  const { stdout } = await printed(
    'push',
    folder,
    'org/stories-int4',
    '--private',
    '--base-model',
    'karpathy/tinyllamas',
  )
  assert.equal(stdout, `pushed to ${server.url}/org/stories-int4\n`)
  const { files, isPrivate } = server.models.get('org/stories-int4') ?? assert.fail()
  assert.equal(isPrivate, true)
  assert.deepEqual(files.get('model.safetensors'), readFileSync(join(folder, 'model.safetensors')))
  const card = String(files.get('README.md'))
  const [, header, body] = /^---\n([\s\S]*?)\n---\n([\s\S]*)$/.exec(card) ?? []
  assert.deepEqual(header?.split('\n'), [
    'pipeline_tag: text-generation',
    'base_model: karpathy/tinyllamas',
    'base_model_relation: quantized',
    'tags:',
    '- lowbit',
    '- quantized',
    '- quanto',
  ])
  const inspected = await json('inspect', 'org/stories-int4')
  assert.ok(
    body?.includes(`| bits per weight | ${inspected.bitsPerWeight.toFixed(2)}, scales included |`),
    body,
  )
  assert.match(
    body ?? '',
    /# stories-int4\n[\s\S]*\| quantized by \| quanto \|[\s\S]*loadCausalLM\('org\/stories-int4'\)/,
  )
  const prompt = ['Once upon a time', '--max-new-tokens', '8']
  const { tokenIds } = await json('generate', 'org/stories-int4', ...prompt)
  assert.equal(tokenIds.length, 8)
  const { scheme, bytes } = await json('inspect', folder)
  assert.deepEqual([inspected.scheme, inspected.bytes], [scheme, bytes])
})

test('a card of the folder stays, and the base model of config.json is named in ours', async () => {
  const folder = copyOf(stories, join(root, 'stories'), (path) =>
    editJson(path, 'config.json', (config) => Object.assign(config, { _name_or_path: 'org/base' })),
  )
  assert.deepEqual(await json('push', folder, 'org/stories'), { url: `${server.url}/org/stories` })
  const card = String(server.models.get('org/stories')?.files.get('README.md'))
  assert.match(card, /^---\npipeline_tag: text-generation\nbase_model: org\/base\ntags:\n- lowbit\n---\n/)
  assert.match(card, /\| quantized by \| not quantized \|/)
})

test('what cannot be pushed says why, on one line', async () => {
  for (const [args, says] of [
    [[stories, 'name'], /^lowbit: push: a model of the hub must be called as org\/name; received name\n$/],
    [[join(root, 'none'), 'org/x'], /^lowbit: .*none: must be a folder.*\n$/],
    [
      [stories, 'org/x', '--base-model', 'nothing'],
      /^lowbit: push: --base-model must be a model of the hub, as org\/name; received nothing\n$/,
    ],
  ] as const) {
    const { code, stdout, stderr } = await lowbit('push', ...args)
    assert.deepEqual([code, stdout], [1, ''])
    assert.match(stderr, says)
  }
  const offline = await lowbit('inspect', 'org/other')
  assert.equal(offline.code, 1)
  assert.match(
    offline.stderr,
    /^lowbit: org\/other: must be a folder, or a model of the hub; the hub shows none of this name to the owner of the token \(404\)\n$/,
  )
})
