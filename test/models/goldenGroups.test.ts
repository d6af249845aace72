import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { save } from '../../src/checkpoints/save.ts'
import { openDevice } from '../../src/devices/open.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { deviceNames } from '../deviceNames.ts'
import { forward64, readPlain } from './float64Llama.ts'
import { copyOf, damage, readExpected } from './golden.ts'
import { checkLogits, checkParts, logitsOf } from './goldenChecks.ts'

/*
 * A small Llama with random weights whose layers have 160, 192 and 256 columns: groups of 32, 96 and 128,
 * against optimum-quanto. Made by scripts/make-quanto-golden.py.
 */
const golden = join(import.meta.dirname, '../golden/quanto')
const { prompt_ids } = JSON.parse(readFileSync(join(golden, 'groups.json'), 'utf8')) as {
  prompt_ids: number[]
}
const float = diskFolder(join(golden, 'groups'))
const expected = await readExpected(join(golden, 'groups-expected.safetensors'))

for (const name of deviceNames) {
  describe(`groups on ${name}`, () => {
    const device = openDevice(name, { threads: 2 })
    after(() => device.close())

    test('the float model, stored as bfloat16, loaded as float32', async (t) => {
      using model = await loadCausalLM(float, { device, dtype: 'float32' })
      const errors = checkLogits(
        await logitsOf(model, prompt_ids),
        expected.get('float') ?? new Float32Array(),
        forward64(await readPlain(float), prompt_ids),
      )
      t.diagnostic(
        `float on ${name}: logit error ${errors.ours.toExponential(1)}, PyTorch's ${errors.python.toExponential(1)}`,
      )
    })

    for (const [weights, qtype] of [
      ['int4', 'qint4'],
      ['int2', 'qint2'],
    ] as const) {
      const python = diskFolder(join(golden, `groups-${qtype}`))
      const logits = expected.get(qtype) ?? new Float32Array()

      test(`${qtype}: our codes, scales, shifts and file are Python's, in groups of 32, 96 and 128`, async () => {
        const truth = await readPlain(python)
        assert.deepEqual(
          [...new Set([...truth.quantized.values()].map(({ groupSize }) => groupSize))].sort((a, b) => a - b),
          [32, 96, 128],
        )
        using model = await loadCausalLM(float, { device, dtype: 'float32' })
        quantize(model, { weights })
        freeze(model)
        await checkParts(model, truth)
        const ours = new Map<string, Uint8Array>()
        await save(model, memoryFolder(ours))
        const theirs = await copyOf(python)
        for (const file of ['model.safetensors', 'quanto_qmap.json'])
          assert.deepEqual(ours.get(file), theirs.get(file), file)
      })

      test(`${qtype}: Python's folder computes what Python computed`, async (t) => {
        using model = await loadCausalLM(python, { device })
        const errors = checkLogits(
          await logitsOf(model, prompt_ids),
          logits,
          forward64(await readPlain(python), prompt_ids),
        )
        t.diagnostic(
          `${qtype} on ${name}: logit error ${errors.ours.toExponential(1)}, PyTorch's ${errors.python.toExponential(1)}`,
        )
      })

      test(`${qtype}: the scales of two groups exchanged do not pass`, async () => {
        const files = await copyOf(python)
        await damage(files, 'model.layers.0.mlp.gate_proj.weight._scale', (bytes) =>
          bytes.set([...bytes.subarray(4, 8), ...bytes.subarray(0, 4)]),
        )
        using model = await loadCausalLM(memoryFolder(files), { device })
        const ours = await logitsOf(model, prompt_ids)
        const truth = forward64(await readPlain(python), prompt_ids)
        assert.throws(() => checkLogits(ours, logits, truth), { name: 'AssertionError' })
      })
    }
  })
}
