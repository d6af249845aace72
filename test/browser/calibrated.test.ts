import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gptq, loadCausalLM, memoryFolder, openDevice, quantizeCalibrated, save } from '../../src/index.ts'
import { stories } from '../models/golden.ts'
import { ApiPages } from './apiPages.ts'

/*
 * GPTQ in a page: the files that it writes are Node's, byte for byte; an aborted run leaves the model alone.
 */

const text = readFileSync(join(stories, '../tinystories.txt'), 'utf8').slice(0, 4000)
const settings = { bits: 4, groupSize: 32, symmetric: false, actOrder: true }
const sampling = { samples: 4, length: 64, exclude: 'lm_head' }

const pages = new ApiPages()

/** SHA-256 of each file that Node writes after GPTQ on WebAssembly. */
async function digestsOfNode(): Promise<Record<string, string>> {
  const model = await loadCausalLM(stories, { device: openDevice('wasm') })
  await quantizeCalibrated(model, { algorithm: gptq(settings), data: [text], ...sampling })
  const files = new Map<string, Uint8Array<ArrayBuffer>>()
  await save(model, memoryFolder(files), { format: 'gptq' })
  await model.device.close()
  return Object.fromEntries(
    [...files].map(([name, bytes]) => [name, createHash('sha256').update(bytes).digest('hex')]),
  )
}

test('GPTQ in a page writes the very files that it writes in Node, with one thread and with several', async (t) => {
  const expected = await digestsOfNode()
  assert.ok(expected['model.safetensors'] && expected['config.json'])
  for (const isolated of [true, false]) {
    const { page, complaints } = await pages.open(isolated)
    const done = await page.evaluate(
      async ([text, settings, sampling]) => {
        const { gptq, loadCausalLM, memoryFolder, quantizeCalibrated, save } = globalThis.lowbit
        const model = await loadCausalLM('stories260K')
        const told: number[] = []
        const start = performance.now()
        await quantizeCalibrated(model, {
          ...{ algorithm: gptq(settings), data: [text], ...sampling },
          onProgress: ({ done }) => told.push(done),
        })
        const seconds = (performance.now() - start) / 1000
        const files = new Map<string, Uint8Array<ArrayBuffer>>()
        await save(model, memoryFolder(files), { format: 'gptq' })
        const digests: Record<string, string> = {}
        for (const [name, bytes] of files) {
          const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
          digests[name] = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')
        }
        return { digests, told, seconds, device: model.device.name, threads: model.device.threads }
      },
      [text, settings, sampling] as const,
    )
    t.diagnostic(`${done.device}, ${done.threads} threads: ${done.seconds.toFixed(1)} s`)
    assert.deepEqual(done.digests, expected)
    assert.ok(done.told.length > 20 && done.told.at(-1) === 1)
    assert.ok(done.told.every((share, i) => i === 0 || share >= done.told[i - 1]))
    assert.deepEqual(complaints, [])
    await page.close()
  }
})

test('a run that is aborted half-way in a page leaves the model as it was, and the next one is none the worse', async () => {
  const { page, complaints } = await pages.open(true)
  const done = await page.evaluate(
    async ([text, settings, sampling]) => {
      const { gptq, loadCausalLM, memoryFootprint, perplexity, quantizeCalibrated } = globalThis.lowbit
      const model = await loadCausalLM('stories260K')
      const measure = async () => [
        String(model),
        memoryFootprint(model),
        (await perplexity(model, text.slice(0, 500), { context: 128 })).nll,
      ]
      const before = await measure()
      const abort = new AbortController()
      const options = { algorithm: gptq(settings), data: [text], ...sampling }
      let reached = 0
      const failure = await quantizeCalibrated(model, {
        ...{ ...options, signal: abort.signal },
        onProgress: ({ done }) => {
          reached = done
          if (done > 0.5) abort.abort(new Error('no more of it'))
        },
      }).catch((error: Error) => error.message)
      const after = await measure()
      await quantizeCalibrated(model, options)
      return { before, after, failure, reached, quantized: String(model).includes('QLinear') }
    },
    [text, settings, sampling] as const,
  )
  assert.equal(done.failure, 'no more of it')
  assert.ok(done.reached > 0.5 && done.reached < 1, `${done.reached}`)
  assert.deepEqual(done.after, done.before)
  assert.ok(done.quantized)
  assert.deepEqual(complaints, [])
  await page.close()
})
