import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { diskFolder, fileSource } from '../../src/formats/file.node.ts'
import { openFolder } from '../../src/formats/files.node.ts'
import { httpFolder } from '../../src/formats/http.ts'
import { blobSource, bytesSource, memoryFolder, readText, writeText } from '../../src/formats/source.ts'

const folder = mkdtempSync(join(tmpdir(), 'lowbit-source-'))
after(() => rmSync(folder, { recursive: true }))
const content = Uint8Array.from({ length: 100 }, (_, i) => i)
writeFileSync(join(folder, 'data.bin'), content)
writeFileSync(join(folder, 'empty'), '')
symlinkSync('data.bin', join(folder, 'link'))

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  after(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/model`
}

/** Serves `data.bin` with ranges, as static servers do. */
const ranges: RequestListener = (request, response) => {
  const body =
    request.url === '/model/data.bin'
      ? content
      : request.url === '/model/empty'
        ? new Uint8Array(0)
        : undefined
  if (!body) return response.writeHead(404).end('not here')
  const [, first, last] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? []
  if (Number(first) >= body.length)
    return response.writeHead(416, { 'content-range': `bytes */${body.length}` }).end()
  const part = body.slice(Number(first), Number(last) + 1)
  response
    .writeHead(206, {
      'content-range': `bytes ${first}-${last}/${body.length}`,
      'content-length': part.length,
    })
    .end(part)
}

test('every source gives the same bytes, and refuses what lies outside', async () => {
  const sources = [
    bytesSource(content, 'bytes'),
    blobSource(new Blob([content]), 'blob'),
    await fileSource(join(folder, 'data.bin'), 'file'),
    await (await diskFolder(folder)).open('link'),
    await httpFolder(await serve(ranges)).open('data.bin'),
    await httpFolder(await serve((_, response) => response.end(content))).open('data.bin'),
    await memoryFolder(new Map([['data.bin', content]])).open('data.bin'),
  ]
  for (const source of sources) {
    assert.equal(source.size, 100, source.name)
    assert.deepEqual([...(await source.read(10, 3))], [10, 11, 12], source.name)
    assert.deepEqual([...(await source.read(0, 100))], [...content], source.name)
    assert.equal((await source.read(100, 0)).length, 0, source.name)
    for (const [offset, length] of [
      [99, 2],
      [-1, 1],
      [0, 101],
      [2 ** 53, 1],
      [NaN, 1],
      [0, -1],
      [0.5, 1],
      [0, 2 ** 60],
    ]) {
      await assert.rejects(source.read(offset, length), {
        name: 'FormatError',
        message: `${source.name}: bytes read must lie within its 100; asked for ${length} bytes at ${offset}`,
        byteOffset: offset,
      })
    }
    await source.close()
  }
})

test('a file must be there, regular, and stay whole', async () => {
  const absent = join(folder, 'absent')
  await assert.rejects(fileSource(absent), {
    message: `${absent}: must be a file that can be read; there is none (ENOENT)`,
  })
  await assert.rejects(fileSource(folder), { message: `${folder}: must be a regular file; it is a folder` })
  execFileSync('mkfifo', [join(folder, 'pipe')])
  await assert.rejects(fileSource(join(folder, 'pipe'), 'pipe'), {
    message: 'pipe: must be a regular file; it is a device or pipe',
  })
  writeFileSync(join(folder, 'shrinking'), content)
  const source = await fileSource(join(folder, 'shrinking'), 'shrinking')
  truncateSync(join(folder, 'shrinking'), 40)
  await assert.rejects(source.read(30, 20), {
    message: 'shrinking: must keep its 100 bytes while it is read; it ends at 40',
    byteOffset: 40,
  })
  await source.close()
})

test('folders list, find and refuse names that lead out', async () => {
  const http = httpFolder(await serve(ranges))
  const disk = diskFolder(folder)
  assert.ok((await disk.list()).includes('data.bin') && (await disk.list()).includes('link'))
  for (const each of [disk, http]) {
    assert.equal(await each.has('data.bin'), true)
    assert.equal(await each.has('empty'), true)
    const empty = await each.open('empty')
    assert.equal(empty.size, 0)
    await empty.close()
    assert.equal(await each.has('absent'), false)
    await assert.rejects(each.open('absent'), {
      message: `${each.name}: must hold absent; there is no such file`,
    })
    for (const name of ['../x', '/etc/passwd', 'a/../../x', 'C:\\x', 'a\\..\\x', '', '.', 'a//b', 'x\0']) {
      await assert.rejects(each.open(name), {
        message: `${each.name}: a file name must be a plain path inside the folder; received ${JSON.stringify(name)}`,
      })
    }
  }
  await assert.rejects(http.list(), { name: 'FormatError' })
  await assert.rejects(diskFolder(join(folder, 'none')).list(), {
    message: `${join(folder, 'none')}: must be a folder that can be read; there is none (ENOENT)`,
  })
  assert.equal(await diskFolder(join(folder, 'none')).has('x'), false)
})

test('text is read up to a limit and written as UTF-8', async () => {
  const memory = memoryFolder()
  await writeText(memory, 'note.txt', 'né')
  assert.equal(await readText(memory, 'note.txt', 3), 'né')
  await assert.rejects(readText(memory, 'note.txt', 2), {
    message: 'memory/note.txt: must have at most 2 bytes; it has 3',
  })
})

test('a model of this package is found by its name, wherever the process runs', async () => {
  const embedded = await openFolder('lowbit/models/stories260K')
  assert.equal(JSON.parse(await readText(embedded, 'config.json', 10_000)).model_type, 'llama')
  await assert.rejects(openFolder('lowbit/models/nothing'), /nothing: must be a folder/)
  await assert.rejects(openFolder('lowbit/models/../src'), /must be a folder, a URL, or a hub id/)
})
