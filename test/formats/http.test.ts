import assert from 'node:assert/strict'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, test } from 'node:test'
import { httpFolder, httpSource } from '../../src/formats/http.ts'
import { readText } from '../../src/formats/source.ts'

/* What servers say of files that they have, and of those that they have not. */

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  after(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/model`
}

const config = '{"model_type": "llama"}'
const page = '\n<!doctype html>\n<html><body>The start page</body></html>'

/** A server that has config.json, as a whole, and answers everything else with `absent`. */
const onlyConfig = (absent: RequestListener) =>
  serve((request, response) => {
    if (request.url === '/model/config.json')
      response.writeHead(200, { 'content-type': 'application/json' }).end(config)
    else absent(request, response)
  })

const none = 'there is no such file'
const absences: Record<string, { answer: RequestListener; said: string }> = {
  '404': { answer: (_, response) => response.writeHead(404).end('Not Found'), said: none },
  '410': { answer: (_, response) => response.writeHead(410).end(), said: none },
  '403, as buckets that may not be listed': {
    answer: (_, response) => response.writeHead(403, { 'content-type': 'application/xml' }).end('<Error/>'),
    said: 'the server answers 403 Forbidden',
  },
  'a page of HTML': {
    answer: (_, response) =>
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(page),
    said: 'the server answers with a page of HTML',
  },
  'a page that is not called HTML': {
    answer: (_, response) =>
      response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(page),
    said: 'the server answers with a page of HTML',
  },
  'a range of a page': {
    answer: (_, response) =>
      response.writeHead(206, { 'content-range': `bytes 0-${page.length - 1}/${page.length}` }).end(page),
    said: 'the server answers with a page of HTML',
  },
}
for (const [name, { answer, said }] of Object.entries(absences)) {
  test(`absent is what a server answers with ${name}`, async () => {
    const url = await onlyConfig(answer)
    const folder = httpFolder(url)
    assert.equal(await folder.has('config.json'), true)
    assert.equal(await readText(folder, 'config.json', 100), config)
    assert.equal(await folder.has('quanto_qmap.json'), false)
    await assert.rejects(folder.open('model.safetensors'), {
      name: 'FormatError',
      message: `${url}: must hold model.safetensors; ${said}`,
    })
    await assert.rejects(httpSource(`${url}/model.gguf`), {
      name: 'FormatError',
      message: `${url}/model.gguf: must be a file on the server; ${said}`,
    })
  })
}

test('files that start like a page, or are called one, are files', async () => {
  const files: Record<string, string> = {
    '/model/config.json': config,
    '/model/chat_template.jinja': '<|user|>{{ messages[0].content }}',
    // The header of a safetensors file may have 60 bytes.
    '/model/model.safetensors': '<\0\0\0\0\0\0\0',
  }
  const url = await serve((request, response) => {
    const type = request.url?.endsWith('.json') ? 'text/html' : 'application/octet-stream'
    response.writeHead(200, { 'content-type': type }).end(files[String(request.url)])
  })
  for (const [path, text] of Object.entries(files)) {
    assert.equal(await readText(httpFolder(url), path.slice('/model/'.length), 100), text)
  }
})

test('the query of the URL goes with every file, and stays out of messages', async () => {
  const asked: string[] = []
  const url = await serve((request, response) => {
    asked.push(String(request.url))
    const { pathname, searchParams } = new URL(String(request.url), 'http://localhost')
    const known = searchParams.get('token') === 'a b' && pathname === '/model/sub/config%20.json'
    response.writeHead(known ? 200 : 404).end(known ? config : '')
  })
  for (const place of [`${url}?token=a%20b`, `${url}/?token=a%20b`, new URL(`${url}?token=a%20b`)]) {
    const folder = httpFolder(place)
    assert.equal(folder.name, url)
    assert.equal(await readText(folder, 'sub/config .json', 100), config)
    await assert.rejects(folder.open('x'), { message: `${url}: must hold x; there is no such file` })
  }
  assert.equal((await httpSource(`${url}/sub/config .json?token=a%20b`)).size, config.length)
  assert.deepEqual([...new Set(asked)], ['/model/sub/config%20.json?token=a%20b', '/model/x?token=a%20b'])
  assert.throws(() => httpFolder('model'), {
    name: 'FormatError',
    message: 'model: must be a URL; it is none',
  })
})

test('with a list of its files, a folder asks for no other; without, once for each', async () => {
  const asked: string[] = []
  const url = await serve((request, response) => {
    asked.push(String(request.url).slice('/model/'.length))
    response.writeHead(asked.at(-1) === 'config.json' ? 200 : 404).end(config)
  })
  const listed = httpFolder(url, { files: ['config.json'] })
  assert.deepEqual(await listed.list(), ['config.json'])
  assert.equal(await listed.has('config.json'), true)
  assert.equal(await listed.has('tokenizer.json'), false)
  await assert.rejects(listed.open('tokenizer.json'), {
    message: `${url}: must hold tokenizer.json; there is no such file`,
  })
  assert.equal(await readText(listed, 'config.json', 100), config)
  assert.deepEqual(asked, ['config.json'])

  const unlisted = httpFolder(url)
  assert.equal(await unlisted.has('config.json'), true)
  assert.equal(await readText(unlisted, 'config.json', 100), config)
  assert.deepEqual(asked, ['config.json', 'config.json'])
  await assert.rejects(unlisted.list(), { name: 'FormatError' })
})

test('headers and credentials of the folder go with every request', async () => {
  const url = await serve((request, response) => {
    response.writeHead(request.headers.authorization === 'Bearer x' ? 200 : 401).end(config)
  })
  assert.equal(
    await readText(httpFolder(url, { headers: { authorization: 'Bearer x' } }), 'config.json', 100),
    config,
  )
  const refused = {
    name: 'FormatError',
    message: `${url}/config.json: the server must answer 200 or 206; received 401 Unauthorized`,
  }
  await assert.rejects(httpFolder(url).has('config.json'), refused)
  await assert.rejects(httpFolder(url).open('config.json'), refused)
})

test('a large file is read by ranges beyond what came first; one whose size is hidden, as a whole', async () => {
  const bytes = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 7) % 251)
  for (const hidden of [false, true]) {
    const ranges: (string | undefined)[] = []
    const url = await serve((request, response) => {
      ranges.push(request.headers.range)
      const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
      if (first === undefined) return response.writeHead(200).end(bytes)
      const range: Record<string, string> = hidden
        ? {}
        : { 'content-range': `bytes ${first}-${last}/${bytes.length}` }
      response.writeHead(206, range).end(bytes.subarray(Number(first), Number(last) + 1))
    })
    const source = await httpSource(`${url}/x`)
    assert.equal(source.size, bytes.length)
    for (const [offset, length] of [
      [10, 20],
      [65_530, 20],
      [199_990, 10],
    ]) {
      assert.deepEqual([...(await source.read(offset, length))], [...bytes.subarray(offset, offset + length)])
    }
    const first = 'bytes=0-65535'
    assert.deepEqual(
      ranges,
      hidden ? [first, undefined] : [first, 'bytes=65530-65549', 'bytes=199990-199999'],
    )
  }
})

test('a server that errs, sends too much, too little or another range, or does not answer, is refused', async () => {
  const failing = httpFolder(await serve((_, response) => response.writeHead(500).end()))
  await assert.rejects(failing.open('x'), {
    message: `${failing.name}/x: the server must answer 200 or 206; received 500 Internal Server Error`,
  })
  await assert.rejects(failing.has('x'), { name: 'FormatError' })

  const answer = async (body: string, range: string) => {
    const url = await serve((request, response) => {
      const head = request.headers.range === 'bytes=0-65535'
      response.writeHead(206, { 'content-range': head ? 'bytes 0-0/100' : range }).end(head ? 'x' : body)
    })
    return (await httpFolder(url).open('x')).read(10, 3)
  }
  assert.deepEqual([...(await answer('abc', 'bytes 10-12/100'))], [97, 98, 99])
  await assert.rejects(answer('abcd', 'bytes 10-12/100'), /must send at most 3 bytes; it sends more/)
  await assert.rejects(answer('ab', 'bytes 10-12/100'), /must send 3 bytes; it sent 2/)
  await assert.rejects(
    answer('abc', 'bytes 9-11/100'),
    /must answer with bytes 10-12 of 100; received status 206, range bytes 9-11\/100/,
  )
  await assert.rejects(answer('abc', 'bytes 10-12/101'), /must answer with bytes 10-12 of 100/)

  const huge = await serve((_, response) => response.writeHead(200, { 'content-length': 2 ** 40 }).write('x'))
  await assert.rejects(
    httpFolder(huge).open('x'),
    /must send at most 2147483648 bytes; it announces 1099511627776/,
  )

  const silent = await serve((_, response) => response.destroy())
  await assert.rejects(httpFolder(silent).has('x'), {
    name: 'FormatError',
    message: /\/model\/x: the server must answer, and to the end; .+/,
  })
  const ending = await serve((_, response) => {
    response.writeHead(200, { 'content-length': 1000 }).write('{', () => response.destroy())
  })
  await assert.rejects(httpFolder(ending).open('x'), {
    name: 'FormatError',
    message: /\/model\/x: the server must answer, and to the end; .+/,
  })
  const reason = new Error('enough')
  await assert.rejects(httpFolder(silent, { signal: AbortSignal.abort(reason) }).open('x'), reason)
})
