import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, beforeEach, test } from 'node:test'
import { openFile, openFolder } from '../../src/formats/files.node.ts'
import { hubDatasetFile } from '../../src/formats/hub.node.ts'
import { hubSettings } from '../../src/formats/hubSettings.node.ts'
import { uploadFolder } from '../../src/formats/hubUpload.node.ts'
import type { ByteSource } from '../../src/formats/source.ts'
import { HubServer } from './hubServer.ts'

/*
 * Beside a server on this machine, since the hub itself is none that a test may ask. What Python makes of the
 * same cache, and the other way round, is in test/interop/hub.test.ts.
 */

const root = mkdtempSync(join(tmpdir(), 'lowbit-hub-'))
after(() => rmSync(root, { recursive: true, force: true }))
for (const name of Object.keys(process.env))
  if (/^(HF_|HUGGING|TRANSFORMERS_)/.test(name)) delete process.env[name]

const server = await new HubServer().listen()
let cache: string
const id = 'org/a.model-1'
const repository = () => join(cache, 'models--org--a.model-1')
const weights = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => (i * i) >> 3))
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

beforeEach(() => {
  Object.assign(server, { breakAfter: 0, breaks: 0 })
  server.requests.length = 0
  server.models.clear()
  cache = mkdtempSync(join(root, 'cache-'))
  const files = new Map([
    ['config.json', Buffer.from('{"a": 1}')],
    ['model.safetensors', weights],
    ['pytorch_model.bin', Buffer.alloc(2000)],
    ['onnx/model.onnx', Buffer.alloc(10)],
  ])
  server.models.set(id, { files, isPrivate: false })
  Object.assign(process.env, {
    HF_ENDPOINT: `${server.url}/`,
    HF_HUB_CACHE: cache,
    HF_HOME: join(cache, 'home'),
  })
  for (const name of ['HF_TOKEN', 'HF_HUB_OFFLINE']) delete process.env[name]
})

const contentOf = async (source: ByteSource) => {
  try {
    return Buffer.from(await source.read(0, source.size))
  } finally {
    await source.close()
  }
}
const fetched = (file: string) =>
  server.requests.filter((request) => request.includes(`/${file}`) && !request.includes('0-0'))

test('files are downloaded when they are opened, once, into the cache as Python lays it out', async () => {
  const folder = await openFolder(id)
  assert.deepEqual(await folder.list(), ['config.json', 'model.safetensors', 'pytorch_model.bin'])
  assert.equal(await folder.has('onnx/model.onnx'), true)
  assert.equal(await folder.has('tokenizer.json'), false)
  assert.equal(String(await contentOf(await folder.open('config.json'))), '{"a": 1}')
  assert.deepEqual(await contentOf(await folder.open('model.safetensors')), weights)
  await assert.rejects(folder.open('tokenizer.json'), {
    message: `${id}: must hold tokenizer.json; there is no such file`,
  })
  await assert.rejects(folder.open('../x'), /must be a plain path inside the folder/)
  const commit = server.commitOf(id)
  assert.equal(readFileSync(join(repository(), 'refs/main'), 'utf8'), commit)
  // The blob of an LFS file is called by the SHA-256 of its bytes, another by its hash in git.
  const git = createHash('sha1').update('blob 8\0{"a": 1}').digest('hex')
  assert.deepEqual(readdirSync(join(repository(), 'blobs')).sort(), [git, sha256(weights)].sort())
  const link = (file: string) => readlinkSync(join(repository(), 'snapshots', commit, file))
  assert.equal(link('config.json'), `../../blobs/${git}`)
  assert.equal(link('model.safetensors'), `../../blobs/${sha256(weights)}`)
  assert.equal(fetched('model.safetensors').length, 1)
  const again = await openFolder(id)
  assert.deepEqual(await contentOf(await again.open('model.safetensors')), weights)
  assert.equal(fetched('model.safetensors').length, 1)
})

test('a file of a data set is downloaded once, into a folder of its own kind', async () => {
  const file = 'onnx/model.onnx'
  const content = await contentOf(await hubDatasetFile(id, file))
  assert.equal(content.length, 10)
  const folder = join(cache, 'datasets--org--a.model-1')
  const commit = readFileSync(join(folder, 'refs/main'), 'utf8')
  assert.equal(commit, server.commitOf(id))
  assert.deepEqual(readFileSync(join(folder, 'snapshots', commit, file)), content)
  assert.ok(server.requests.every((request) => /^\w+ \/(api\/)?datasets\/org\/a\.model-1\//.test(request)))
  const asked = server.requests.length
  await (await hubDatasetFile(id, file)).close()
  assert.equal(server.requests.length, asked)
  const absent = { name: 'FormatError', message: /^org\/a\.model-1: x\.parquet must be downloaded whole; / }
  await assert.rejects(hubDatasetFile(id, 'x.parquet'), absent)
  await assert.rejects(hubDatasetFile('org/none', file), {
    name: 'FormatError',
    message:
      /^org\/none: its onnx\/model\.onnx must be in the hub's cache, .+ or to be downloaded; the hub shows none/,
  })
})

test('a new commit is seen, and takes what is the same from the cache', async () => {
  await (await (await openFolder(id)).open('model.safetensors')).close()
  const { files } = server.models.get(id) ?? assert.fail()
  files.set('config.json', Buffer.from('{"b": 2}'))
  const folder = await openFolder(id)
  assert.equal(String(await contentOf(await folder.open('config.json'))), '{"b": 2}')
  await (await folder.open('model.safetensors')).close()
  assert.equal(fetched('model.safetensors').length, 1)
  assert.equal(readdirSync(join(repository(), 'snapshots')).length, 2)
})

test('a connection that breaks is taken up where it broke, with the bytes told', async () => {
  Object.assign(server, { breakAfter: 100_000, breaks: 2 })
  const told: number[] = []
  const folder = await openFolder(id, {
    onDownload: (file, bytes, total) => {
      assert.deepEqual([file, total], ['model.safetensors', weights.length])
      told.push(bytes)
    },
  })
  assert.deepEqual(await contentOf(await folder.open('model.safetensors')), weights)
  const starts = fetched('model.safetensors').map((request) => Number(/bytes=(\d+)/.exec(request)?.[1] ?? 0))
  assert.equal(starts.length, 3, `${starts}`)
  assert.ok(starts[0] === 0 && starts[1] > 0 && starts[2] > starts[1], `${starts}`)
  assert.deepEqual([told[0], told.at(-1)], [0, weights.length])
  assert.ok(told.includes(starts[1]))
})

test('what an earlier run left is gone on with; where it does not fit, the file comes anew', async () => {
  const blobs = join(repository(), 'blobs')
  mkdirSync(blobs, { recursive: true })
  const incomplete = join(blobs, `${sha256(weights)}.incomplete`)
  writeFileSync(incomplete, weights.subarray(0, 120_000))
  assert.deepEqual(await contentOf(await (await openFolder(id)).open('model.safetensors')), weights)
  assert.deepEqual(
    fetched('model.safetensors').map((request) => request.split(' ').at(-1)?.slice(0, 13)),
    ['bytes=120000-'],
  )
  rmSync(repository(), { recursive: true })
  mkdirSync(blobs, { recursive: true })
  writeFileSync(incomplete, Buffer.alloc(120_000, 7))
  server.requests.length = 0
  assert.deepEqual(await contentOf(await (await openFolder(id)).open('model.safetensors')), weights)
  assert.equal(fetched('model.safetensors').length, 2)
  assert.deepEqual(readdirSync(blobs), [sha256(weights)])
})

test('a download that ends too early says so, and leaves what came', async () => {
  Object.assign(server, { breakAfter: 1, breaks: 1000 })
  await assert.rejects((await openFolder(id)).open('model.safetensors'), (error: Error) => {
    assert.equal(error.name, 'FormatError')
    assert.match(
      error.message,
      /^org\/a\.model-1: model\.safetensors must be downloaded whole; .*; run it again, and it goes on from there$/,
    )
    return true
  })
  const controller = new AbortController()
  const folder = await openFolder(id, { signal: controller.signal })
  controller.abort(new Error('stopped'))
  await assert.rejects(folder.open('config.json'), { message: 'stopped' })
})

test('without the network the cache has to do, and says so where it has not', async () => {
  process.env.HF_HUB_OFFLINE = '1'
  const nowhere = {
    name: 'FormatError',
    message: `${id}: must be a folder, or in the hub's cache when HF_HUB_OFFLINE is 1; it is neither`,
  }
  await assert.rejects(openFolder(id), nowhere)
  delete process.env.HF_HUB_OFFLINE
  await (await (await openFolder(id)).open('config.json')).close()
  for (const environment of [
    { HF_HUB_OFFLINE: 'yes' },
    { HF_HUB_OFFLINE: '0', HF_ENDPOINT: 'http://127.0.0.1:9' },
  ]) {
    Object.assign(process.env, environment)
    server.requests.length = 0
    const folder = await openFolder(id)
    assert.equal(String(await contentOf(await folder.open('config.json'))), '{"a": 1}')
    assert.equal(server.requests.length, 0)
  }
  await assert.rejects(openFolder('org/other'), {
    name: 'FormatError',
    message:
      /^org\/other: must be a folder, or a model of the hub; http:\/\/127\.0\.0\.1:9 cannot be reached \(.+\)$/,
  })
})

test('what is private needs a token, of the environment or as it was saved', async () => {
  server.models.set(id, { files: new Map([['config.json', Buffer.from('{}')]]), isPrivate: true })
  await assert.rejects(openFolder(id), {
    message: `${id}: must be a folder, or a model of the hub; the hub shows none of this name (401); a private or gated one needs HF_TOKEN`,
  })
  process.env.HF_TOKEN = 'hf_wrong'
  await assert.rejects(openFolder(id), /the hub shows none of this name to the owner of the token \(401\)/)
  process.env.HF_TOKEN = server.token
  assert.deepEqual(await (await openFolder(id)).list(), ['config.json'])
  delete process.env.HF_TOKEN
  mkdirSync(join(cache, 'home'))
  writeFileSync(join(cache, 'home/token'), `${server.token}\n`)
  assert.deepEqual(await (await openFolder(id)).list(), ['config.json'])
  await assert.rejects(
    openFolder('org/absent'),
    /the hub shows none of this name to the owner of the token \(404\)/,
  )
})

test('a single file of a model', async () => {
  server.models.get(id)?.files.set('q/model.gguf', Buffer.from('GGUF'))
  assert.equal(String(await contentOf(await openFile(`${id}/q/model.gguf`))), 'GGUF')
  await assert.rejects(
    openFile('org/absent/x.gguf'),
    /^FormatError: org\/absent\/x\.gguf: must be a file, or one of the hub; .*\(404\)/,
  )
  await assert.rejects(openFile(join(root, 'org/x/y.gguf')), /must be a file that can be read; there is none/)
})

test("the variables of Hugging Face's tools", async () => {
  const of = (environment: Record<string, string>) => hubSettings({ HF_HOME: '/none', ...environment })
  assert.deepEqual(await of({}), {
    endpoint: 'https://huggingface.co',
    cacheDir: '/none/hub',
    token: undefined,
    offline: false,
  })
  assert.equal((await of({ HF_HUB_CACHE: '/cache' })).cacheDir, '/cache')
  assert.equal((await hubSettings({ XDG_CACHE_HOME: '/xdg' })).cacheDir, '/xdg/huggingface/hub')
  assert.equal((await of({ HF_TOKEN: ' hf_a\n' })).token, 'hf_a')
  assert.equal((await of({ HF_ENDPOINT: 'http://x//' })).endpoint, 'http://x')
  for (const word of ['1', 'ON', 'yes', 'True'])
    assert.equal((await of({ HF_HUB_OFFLINE: word })).offline, true)
  assert.equal((await of({ TRANSFORMERS_OFFLINE: '1' })).offline, true)
  assert.equal((await of({ HF_HUB_OFFLINE: '0', TRANSFORMERS_OFFLINE: '1' })).offline, false)
})

test('a folder goes up whole, in one commit, with a card where it has none', async () => {
  const folder = mkdtempSync(join(root, 'push-'))
  for (const [name, bytes] of Object.entries({
    'config.json': '{}',
    'model.safetensors': weights,
    '.hidden': 'x',
  }))
    writeFileSync(join(folder, name), bytes)
  const texts = { 'README.md': '# card' }
  await assert.rejects(
    uploadFolder(folder, 'org/new', { texts }),
    /push org\/new: the hub must know who pushes; set HF_TOKEN/,
  )
  process.env.HF_TOKEN = 'hf_wrong'
  await assert.rejects(
    uploadFolder(folder, 'org/new', { texts }),
    /the hub does not let the token write there \(401\)/,
  )
  process.env.HF_TOKEN = server.token
  const shares: number[] = []
  const onProgress = (file: string, share: number) => {
    assert.equal(file, 'model.safetensors')
    shares.push(share)
  }
  assert.equal(
    await uploadFolder(folder, 'org/new', { texts, private: true, onProgress }),
    `${server.url}/org/new`,
  )
  const model = server.models.get('org/new') ?? assert.fail()
  assert.equal(model.isPrivate, true)
  assert.deepEqual([...model.files.keys()].sort(), ['README.md', 'config.json', 'model.safetensors'])
  assert.deepEqual(model.files.get('model.safetensors'), weights)
  assert.equal(String(model.files.get('README.md')), '# card')
  assert.equal(shares.at(-1), 1)
  // Once more, with a card of its own; and it can be loaded again.
  writeFileSync(join(folder, 'README.md'), '# mine')
  await uploadFolder(folder, 'org/new', { texts })
  assert.equal(String(model.files.get('README.md')), '# mine')
  assert.deepEqual(await contentOf(await (await openFolder('org/new')).open('model.safetensors')), weights)
})

test('what cannot go up says why, in one sentence', async () => {
  process.env.HF_TOKEN = server.token
  const push = (to: string) => uploadFolder(root, to, { texts: {} })
  await assert.rejects(push('name'), {
    message: 'push: a model of the hub must be called as org/name; received name',
  })
  process.env.HF_HUB_OFFLINE = '1'
  await assert.rejects(push('org/new'), {
    message: 'push org/new: the hub must be asked; HF_HUB_OFFLINE forbids it',
  })
  delete process.env.HF_HUB_OFFLINE
  process.env.HF_ENDPOINT = 'http://127.0.0.1:9'
  await assert.rejects(push('org/new'), {
    name: 'FormatError',
    message:
      /^push org\/new: the files must reach the hub; http:\/\/127\.0\.0\.1:9 cannot be reached \(.+\)$/,
  })
})
