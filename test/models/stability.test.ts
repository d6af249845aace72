import assert from 'node:assert/strict'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { openDevice } from '../../src/devices/open.ts'
import { generate } from '../../src/models/generate.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { deviceNames } from '../deviceNames.ts'

setFlagsFromString('--expose-gc')
/** What waits to be collected is no leak. */
const collectGarbage: () => void = runInNewContext('gc')

const stories = fileURLToPath(new URL('../../models/stories260K', import.meta.url))
const passes = Number(process.env.LOWBIT_FORWARD_PASSES ?? 10_000)
/** What live objects may grow by once warm: a leak of 100 bytes a pass is above it. */
const liveLimitBytes = 50 * passes
/**
 * What native code leaks shows in resident memory alone. V8's own heap, which grows by large steps whenever
 * it likes, is not counted, but for one such step that may be half done.
 */
const residentLimitBytes = 1.5 * 2 ** 24

for (const name of deviceNames) {
  describe(`on ${name}`, () => {
    test(`${passes} forward passes leave memory flat`, async (t) => {
      const device = openDevice(name, { threads: 2 })
      const model = await loadCausalLM(stories, { device })
      quantize(model, { weights: 'int4' })
      freeze(model)
      const warmUp = Math.floor(passes / 2)
      const marks: number[] = []
      for (let pass = 0; pass < passes; pass++) {
        const logits = model.forward([1, 403, 407, 261])
        if (pass % 50 === 0) await logits.read()
        logits.dispose()
        if (pass === warmUp || pass === passes - 1) {
          await device.sync()
          collectGarbage()
          const { rss, heapTotal, heapUsed, external } = process.memoryUsage()
          marks.push(rss - heapTotal, device.allocatedBytes, heapUsed + external)
        }
      }
      const [rssBefore, allocatedBefore, liveBefore, rssAfter, allocatedAfter, liveAfter] = marks
      t.diagnostic(
        `${name}: resident beside V8's heap ${(rssBefore / 1e6).toFixed(1)} MB after ${warmUp} passes, ${(rssAfter / 1e6).toFixed(1)} MB after ${passes}; live ${(liveBefore / 1e6).toFixed(2)}, ${(liveAfter / 1e6).toFixed(2)} MB`,
      )
      assert.equal(allocatedAfter, allocatedBefore, 'bytes in live tensors')
      assert.ok(
        liveAfter - liveBefore < liveLimitBytes,
        `live memory grew by ${liveAfter - liveBefore} bytes`,
      )
      assert.ok(
        rssAfter - rssBefore < residentLimitBytes,
        `resident memory grew by ${rssAfter - rssBefore} bytes`,
      )
      model.dispose()
      assert.equal(device.allocatedBytes, 0, 'a disposed model holds nothing')
      await device.close()
    })

    test('the event loop never waits long for generate, and an abort acts at once', async (t) => {
      const device = openDevice(name, { threads: 2 })
      const model = await loadCausalLM(stories, { device })
      const prompt = Array.from({ length: 400 }, (_, i) => (i * 31 + 7) % 512)
      await generate(model, prompt, { maxNewTokens: 8, stopAtEos: false })
      const delay = monitorEventLoopDelay({ resolution: 1 })
      delay.enable()
      await generate(model, prompt, { maxNewTokens: 100, stopAtEos: false })
      delay.disable()
      const longestMs = delay.max / 1e6
      t.diagnostic(`${name}: longest pause of the event loop ${longestMs.toFixed(1)} ms`)
      assert.ok(longestMs < 50, `a pause of ${longestMs} ms`)

      const controller = new AbortController()
      const running = generate(model, prompt, {
        maxNewTokens: 100,
        stopAtEos: false,
        signal: controller.signal,
      })
      await new Promise((resolve) => setTimeout(resolve, 2))
      const aborted = performance.now()
      controller.abort(new Error('enough'))
      await assert.rejects(running, /enough/)
      assert.ok(performance.now() - aborted < 200, 'an abort acts within 200 ms')
      model.dispose()
      assert.equal(device.allocatedBytes, 0, 'nothing is left of an aborted generation')
      await device.close()
    })
  })
}
