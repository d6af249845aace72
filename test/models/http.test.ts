import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { createServer, type RequestListener, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import {
  generate,
  httpFolder,
  load,
  loadCausalLM,
  type ModelPlace,
  openDevice,
  readStateDict,
  setComputeDtype,
} from '../../src/index.ts'
import { isGgufPath } from '../../src/models/load.ts'
import { golden, inputs, manifest, stories } from './golden.ts'

/*
 * A float model, without most of the optional files, on servers of all kinds: it writes what transformers
 * writes.
 */

const device = openDevice('cpu', { threads: 1 })
after(() => device.close())
const gguf = join(golden, '../gguf')
const greedy: Record<string, { greedy_ids: number[] }> = JSON.parse(
  readFileSync(join(gguf, 'stories260K.json'), 'utf8'),
)

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  after(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Sends a file of `folder`, whole or by the range that is asked for; false if it has none. */
function send(folder: string, url: string, range: string | undefined, response: ServerResponse): boolean {
  const path = join(
    folder,
    decodeURIComponent(new URL(url, 'http://localhost').pathname.replace(/^\/model\//, '')),
  )
  if (!existsSync(path)) return false
  const bytes = readFileSync(path)
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? []
  if (first === undefined) response.writeHead(200).end(bytes)
  else {
    const end = Math.min(Number(last), bytes.length - 1)
    response
      .writeHead(206, { 'content-range': `bytes ${first}-${end}/${bytes.length}` })
      .end(bytes.subarray(Number(first), end + 1))
  }
  return true
}

async function checkStory(place: ModelPlace, expected = manifest.variants.float.greedy_ids): Promise<void> {
  const model = await loadCausalLM(place, { device, computeDtype: 'float32' })
  const { tokenIds } = await generate(model, inputs.prompt_ids, {
    maxNewTokens: expected.length,
    stopAtEos: false,
  })
  assert.deepEqual(tokenIds, expected)
  model.dispose()
}

test('from a development server, which answers whatever it has not with its start page', async () => {
  const url = await serve((request, response) => {
    // Without ranges, as the simplest servers do.
    if (send(stories, String(request.url), undefined, response)) return
    response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><html><body></body></html>')
  })
  await checkStory(`${url}/model`)
})

test('from a bucket, which answers 403 for whatever it has not', async () => {
  const url = await serve((request, response) => {
    if (!send(stories, String(request.url), request.headers.range, response)) response.writeHead(403).end()
  })
  await checkStory(`${url}/model/`)
  await assert.rejects(loadCausalLM(`${url}/model/other`, { device }), {
    message: `${url}/model/other: must hold config.json; the server answers 403 Forbidden`,
  })
})

test('from a URL with a query, as a folder and as a GGUF file; no file is asked for that is not listed', async () => {
  const failed: string[] = []
  const url = await serve((request, response) => {
    const { pathname, searchParams } = new URL(String(request.url), 'http://localhost')
    const folder = pathname.endsWith('.gguf') ? gguf : stories
    const allowed = searchParams.get('token') === 'secret'
    if (allowed && send(folder, String(request.url), request.headers.range, response)) return
    failed.push(String(request.url))
    response.writeHead(404).end()
  })
  const { greedy_ids: expected } = greedy.q4_0
  await checkStory(`${url}/model/stories260K-q4_0.gguf?download=true&token=secret`, expected)
  await checkStory(new URL(`${url}/model/stories260K-q4_0.gguf?token=secret`), expected)
  const files = [
    'config.json',
    'generation_config.json',
    'model.safetensors',
    'tokenizer.json',
    'tokenizer_config.json',
  ]
  await checkStory(httpFolder(`${url}/model?token=secret`, { files }))
  assert.equal(failed.join(), '')
  await checkStory(`${url}/model?token=secret`)
  assert.ok(failed.length > 0 && failed.every((asked) => asked.endsWith('?token=secret')))
})

test('URLs of files are paths', async () => {
  await checkStory(pathToFileURL(stories))
  await checkStory(pathToFileURL(join(gguf, 'stories260K-q4_0.gguf')), greedy.q4_0.greedy_ids)
  const variant = join(golden, 'quanto-qint8')
  const names = [...(await readStateDict(pathToFileURL(join(variant, 'model.safetensors')))).keys()]
  assert.ok(names.includes('lm_head.weight._scale'))
  const model = await loadCausalLM(stories, { device })
  await load(model, pathToFileURL(variant), { device })
  setComputeDtype(model, 'float32')
  const { tokenIds } = await generate(model, inputs.prompt_ids, { maxNewTokens: 8 })
  assert.deepEqual(tokenIds, manifest.variants['quanto-qint8'].greedy_ids.slice(0, 8))
})

test('a GGUF file is known by the end of its path', () => {
  for (const place of [
    'a.gguf',
    'dir#1/A.GGUF',
    'models/a.gguf?download=true',
    'https://h/a.gguf?x=1#y',
    new URL('https://h/a.gguf?x=1'),
  ]) {
    assert.equal(isGgufPath(place), true, String(place))
  }
  for (const place of [
    'a',
    'a.gguf/model',
    'https://h/model?of=a.gguf',
    'https://h/a.gguf/',
    new URL('https://h/?a.gguf'),
  ]) {
    assert.equal(isGgufPath(place), false, String(place))
  }
})
