import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { openFolder } from '../../src/formats/files.node.ts'
import { readBytes } from '../../src/formats/source.ts'
import { HubServer } from '../formats/hubServer.ts'
import { findPython, runJobs } from './python.ts'

/*
 * One cache for lowbit and Python's huggingface_hub: what one of them downloads, the other finds without the
 * network.
 */

let python: string
before(async () => {
  python = await findPython()
})
const root = mkdtempSync(join(tmpdir(), 'lowbit-hub-'))
after(() => rmSync(root, { recursive: true, force: true }))

const server = await new HubServer().listen()
const id = 'org/model'
const files = new Map([
  ['config.json', Buffer.from('{"a": 1}')],
  ['model.safetensors', Buffer.from(Uint8Array.from({ length: 50_000 }, (_, i) => (i * i) >> 3))],
  ['vocab/tokens.txt', Buffer.from('a b c')],
])
server.models.set(id, { files, isPrivate: false })

/** A cache of its own, for this process and for Python. */
function cacheFor(name: string): string {
  const cache = join(root, name)
  Object.assign(process.env, { HF_ENDPOINT: server.url, HF_HUB_CACHE: cache, HF_HOME: join(root, 'home') })
  delete process.env.HF_HUB_OFFLINE
  server.requests.length = 0
  return cache
}

test('Python finds what lowbit downloaded', async () => {
  const cache = cacheFor('ours')
  const folder = await openFolder(id)
  for (const file of ['config.json', 'vocab/tokens.txt']) await (await folder.open(file)).close()
  const out = join(root, 'kept.json')
  const asked = ['config.json', 'vocab/tokens.txt', 'model.safetensors']
  server.requests.length = 0
  await runJobs(python, [{ task: 'kept', id, files: asked, out }], root, 'hub_peer.py')
  assert.equal(server.requests.length, 0)
  const snapshot = join(cache, 'models--org--model/snapshots', server.commitOf(id))
  assert.deepEqual(JSON.parse(readFileSync(out, 'utf8')), {
    '': snapshot,
    'config.json': join(snapshot, 'config.json'),
    'vocab/tokens.txt': join(snapshot, 'vocab/tokens.txt'),
    'model.safetensors': null,
  })
})

test('lowbit finds what Python downloaded, and brings what is missing', async () => {
  const cache = cacheFor('theirs')
  const names = ['config.json', 'model.safetensors']
  await runJobs(python, [{ task: 'download', id, files: names }], root, 'hub_peer.py', {
    HF_HUB_OFFLINE: '0',
    TRANSFORMERS_OFFLINE: '0',
  })
  const blobs = readdirSync(join(cache, 'models--org--model/blobs')).sort()
  process.env.HF_HUB_OFFLINE = '1'
  server.requests.length = 0
  const offline = await openFolder(id)
  for (const name of names)
    assert.deepEqual(Buffer.from(await readBytes(offline, name, 100_000)), files.get(name))
  assert.equal(server.requests.length, 0)
  delete process.env.HF_HUB_OFFLINE
  const folder = await openFolder(id)
  for (const name of names)
    assert.deepEqual(Buffer.from(await readBytes(folder, name, 100_000)), files.get(name))
  assert.deepEqual(
    server.requests.filter((request) => request.includes('/resolve/')),
    [],
  )
  await readBytes(folder, 'vocab/tokens.txt', 100)
  const now = readdirSync(join(cache, 'models--org--model/blobs'))
  assert.equal(now.length, 3)
  assert.ok(blobs.every((blob) => now.includes(blob)))
  // Under the name that Python's blob has, lies what was asked for.
  const commit = server.commitOf(id)
  const target = realpathSync(join(cache, 'models--org--model/snapshots', commit, 'model.safetensors'))
  assert.ok(blobs.some((blob) => target.endsWith(blob)))
})
