import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { save } from '../../src/checkpoints/save.ts'
import { openDevice } from '../../src/devices/open.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { golden } from '../golden.ts'
import { copyOf } from './golden.ts'

/*
 * Folders that Python's libraries wrote, loaded and saved in their own format: the same tensors, byte by
 * byte.
 */

const device = openDevice('cpu', { threads: 1 })
const folders = {
  bitnet: ['bitnet-auto'],
  hqq: ['hqq-w2-g64', 'hqq-w3-g64', 'hqq-w4-g64', 'hqq-w8-g64'],
  torchao: [
    'torchao-int8wo',
    'torchao-int8dyn',
    'torchao-int4-g32',
    'torchao-8da4w',
    'torchao-float8wo',
    'torchao-int8wo-bf16',
  ],
}

/** The tensors of a folder with their dtypes and shapes, by name, and the texts beside them. */
async function contentOf(files: Map<string, Uint8Array>) {
  const file = await openSafetensors(await memoryFolder(files).open('model.safetensors'))
  const tensors = new Map<string, Buffer>()
  for (const [name, { dtype, shape }] of file.tensors)
    tensors.set(`${name} ${dtype} [${shape}]`, Buffer.from(await file.read(name)))
  return { tensors, texts: file.texts }
}

for (const [format, variants] of Object.entries(folders)) {
  for (const variant of variants) {
    test(`${variant} is saved again as it was`, async () => {
      const files = await copyOf(diskFolder(join(golden, 'stories260K', variant)))
      const saved = new Map<string, Uint8Array>()
      using model = await loadCausalLM(memoryFolder(files), { device })
      await save(model, memoryFolder(saved), { format })
      const [before, after] = [await contentOf(files), await contentOf(saved)]
      assert.deepEqual([...after.tensors.keys()].sort(), [...before.tensors.keys()].sort())
      for (const [name, bytes] of before.tensors) assert.ok(after.tensors.get(name)?.equals(bytes), name)
      // torchao's own writer tells of float tensors, too.
      for (const [name, text] of after.texts)
        if (name !== 'tensor_names' && name !== 'format')
          assert.deepEqual(JSON.parse(text), JSON.parse(before.texts.get(name) ?? ''), name)
    })
  }
}

test('the device ends', () => device.close())
