import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import type { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'
import { golden } from '../golden.ts'

/*
 * The models of test/golden/families, whose logits families.test.ts compares with Python's, as PyTorch saved
 * them.
 */

const ids = [1, 17, 40, 3, 3, 51, 22, 9]

for (const name of deviceNames) {
  describe(`PyTorch's files on ${name}`, () => {
    const device = openDevice(name, { threads: 2 })
    after(() => device.close())
    for (const [family, files] of [
      ['qwen2', 'one file, with the tied head in it'],
      ['mistral', 'two shards'],
    ] as const)
      test(`${family} from ${files} of PyTorch computes as from safetensors, bit for bit`, async () => {
        using model = await loadCausalLM(join(golden, 'pytorch', family), { device })
        using other = await loadCausalLM(join(golden, 'families', family), { device })
        using logits = model.forward(ids)
        using wanted = other.forward(ids)
        assert.deepEqual(await logits.read(), await wanted.read())
        assert.deepEqual(model.checkpoint?.config, other.checkpoint?.config)
        // What is tied is held once.
        const tensors = (of: typeof model) =>
          new Set([...of.namedTensors()].map(([, tensor]) => tensor as Tensor)).size
        assert.equal(tensors(model), tensors(other))
      })
  })
}

test('a shard that is missing is named', async () => {
  const place = join(golden, 'pytorch/mistral')
  const shard = 'pytorch_model-00002-of-00002.bin'
  const held = readdirSync(place).filter((name) => name !== shard)
  const folder = memoryFolder(new Map(held.map((name) => [name, readFileSync(join(place, name))])))
  await assert.rejects(loadCausalLM(folder), {
    name: 'FormatError',
    message: `memory: must hold ${shard}; there is no such file`,
  })
})
