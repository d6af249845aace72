import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { after, test } from 'node:test'
import { CompletionServer } from '../../src/cli/serve/server.ts'
import { openDevice } from '../../src/devices/open.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { stories } from './lowbit.ts'
import { expectations, load } from './serveLoad.ts'

/*
 * 200 clients for some seconds, a third of them leaving half-way; `npm run bench:serve` does so for a minute.
 */

const device = openDevice('cpu', { threads: 1 })
const model = await loadCausalLM(stories, { device })
const expected = await expectations(model, [
  'Once upon a time',
  'The',
  'Lily and Tom went',
  'One day',
  'A big dog',
])
const id = 'stories260K'
const server = new CompletionServer({ model, id, size: 16, capacity: 256, queue: 256, kv: 'float32' })
const url = `${await server.listen('127.0.0.1', 0)}/v1`
after(async () => {
  await server.close()
  model.dispose()
  assert.equal(device.allocatedBytes, 0)
  await device.close()
})

async function idle(): Promise<void> {
  const deadline = performance.now() + 10_000
  while (server.scheduler.count > 0 && performance.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, 10))
  assert.equal(server.scheduler.count, 0)
}

test('200 clients, a third of which leave half-way, see no error', async () => {
  const seen = await load({ url, model: id, clients: 200, seconds: 3, expected })
  assert.deepEqual(seen.errors, {})
  assert.ok(seen.answers >= 50 && seen.left >= 20, JSON.stringify(seen))
  // Those who left hold no place.
  await idle()
})

test('a reader that takes nothing holds little memory, and no place', async () => {
  const body = JSON.stringify({ model: id, prompt: 'The', max_tokens: 250, n: 16, stream: true, logprobs: 5 })
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  socket.pause()
  socket.write(
    `POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  )
  while (server.scheduler.count === 0) await new Promise((resolve) => setTimeout(resolve, 1))
  await idle()
  // It gets all that was held for it, when it reads.
  let got = ''
  socket.setEncoding('utf8').resume()
  for await (const part of socket) {
    got += part
    if (got.includes('data: [DONE]')) break
  }
  assert.equal(got.match(/"finish_reason":"(length|stop)"/g)?.length, 16)
  socket.destroy()
})
