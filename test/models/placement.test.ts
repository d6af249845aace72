import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { DeviceError, ShapeError } from '../../src/core/errors.ts'
import { openDevice } from '../../src/devices/open.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { generateTokens } from '../../src/models/generate.ts'
import { type LoadOptions, loadCausalLM } from '../../src/models/load.ts'
import { deviceNames } from '../deviceNames.ts'
import { inputs, stories } from './golden.ts'
import { logitsOf } from './goldenChecks.ts'

/* A model whose weights lie on disk for a part computes what it computes in memory. */

const quantizations: Record<string, Partial<LoadOptions>> = {
  float: {},
  nf4: { quantization: { method: 'bitsandbytes', loadIn4bit: true, bnb4bitUseDoubleQuant: true } },
  int8: { quantization: { method: 'bitsandbytes', loadIn8bit: true } },
  int4: { quantization: { method: 'quanto', weights: 'int4' } },
}

async function tokensOf(model: CausalLM): Promise<number[]> {
  const tokens: number[] = []
  for await (const token of generateTokens(model, inputs.prompt_ids, { maxNewTokens: 12 })) tokens.push(token)
  return tokens
}

if (deviceNames.includes('native'))
  describe('weights on disk', () => {
    const folder = mkdtempSync(join(tmpdir(), 'lowbit-placement-'))
    const device = openDevice('native', { threads: 2 })
    after(async () => {
      assert.equal(device.allocatedBytes, 0)
      await device.close()
      rmSync(folder, { recursive: true })
    })
    const load = (options: LoadOptions) =>
      loadCausalLM(stories, { device, offloadFolder: folder, ...options })

    for (const [name, options] of Object.entries(quantizations)) {
      test(`${name}: layers on disk take no memory, and compute the same`, async () => {
        using whole = await load(options)
        const bytes = device.allocatedBytes
        const [logits, tokens] = [await logitsOf(whole, inputs.prompt_ids), await tokensOf(whole)]
        const before = device.allocatedBytes
        using parted = await load({ ...options, placement: { 'model.layers.[1-4]': 'disk' } })
        const taken = device.allocatedBytes - before
        assert.ok(taken < (2 / 3) * bytes, `${taken} of ${bytes}`)
        assert.deepEqual(readdirSync(folder), [], 'the file has no name')
        assert.deepEqual(await logitsOf(parted, inputs.prompt_ids), logits)
        assert.deepEqual(await tokensOf(parted), tokens)
      })
    }

    test('what comes after maxMemory lies on disk, unless placement says otherwise', async () => {
      using first = await load({ maxMemory: 300_000 })
      assert.ok(device.allocatedBytes < 400_000, String(device.allocatedBytes))
      using rest = await load({ maxMemory: 0, placement: { '*': 'disk' } })
      assert.deepEqual(await tokensOf(rest), await tokensOf(first))
      await assert.rejects(
        load({ maxMemory: 1000, placement: { 'model.layers.0': 'memory', '*': 'disk' } }),
        {
          name: 'ShapeError',
          message:
            /maxMemory must hold the weights that placement puts into memory, \d+ bytes; received 1000/,
        },
      )
    })

    test('a folder that is not there, and a layer that is not, are said', async () => {
      await assert.rejects(
        load({ offloadFolder: join(folder, 'missing'), placement: { '*': 'disk' } }),
        (error) =>
          error instanceof DeviceError &&
          /could not keep \d+ bytes in .*missing; No such file/.test(error.message),
      )
      await assert.rejects(load({ placement: { 'model.layer.0': 'disk' } }), ShapeError)
    })
  })

test('WebAssembly keeps nothing on disk', async () => {
  const device = openDevice('wasm', { threads: 1 })
  await assert.rejects(
    loadCausalLM(stories, { device, placement: { '*': 'disk' } }),
    (error) => error instanceof DeviceError && /must be native, to keep values on disk/.test(error.message),
  )
  assert.equal(device.allocatedBytes, 0)
  await device.close()
})
