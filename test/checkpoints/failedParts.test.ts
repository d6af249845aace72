import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { load } from '../../src/checkpoints/load.ts'
import { save } from '../../src/checkpoints/save.ts'
import { openDevice } from '../../src/devices/open.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { type Folder, memoryFolder } from '../../src/formats/source.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Sequential } from '../../src/nn/sequential.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'

test('a part that is not sound is told when the others have come, and nothing stays allocated', async () => {
  const device = openDevice('cpu', { threads: 1 })
  const files = new Map<string, Uint8Array>()
  const net = initialize(new Sequential(new Linear(64, 64)), device, { seed: 1 })
  quantize(net, { weights: 'int8' })
  freeze(net)
  await save(net, memoryFolder(files))
  net.dispose()
  const name = 'model.safetensors'
  const bytes = files.get(name) as Uint8Array
  const { tensors } = await openSafetensors(await memoryFolder(files).open(name))
  const at = (tensor: string) => tensors.get(tensor)?.byteOffset as number
  bytes.fill(0xff, at('0.weight._scale'), at('0.weight._scale') + 4)
  const inner = memoryFolder(files)
  const slow: Folder = {
    ...inner,
    async open(file) {
      const source = await inner.open(file)
      return {
        ...source,
        async read(offset, length, into) {
          if (offset === at('0.weight._data')) await sleep(50)
          return source.read(offset, length, into)
        },
      }
    },
  }
  const before = device.allocatedBytes
  const loading = load(new Sequential(new Linear(64, 64)), slow, { device })
  await assert.rejects(loading, /0\.weight\._scale must hold finite numbers/)
  assert.equal(device.allocatedBytes, before)
  await device.close()
})
