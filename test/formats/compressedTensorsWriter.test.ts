import assert from 'node:assert/strict'
import { save } from '../../src/checkpoints/save.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import { QLinear } from '../../src/nn/qlinear.ts'
import type { ComputeDType } from '../../src/qtensor/computeDtype.ts'
import { testOnDevices } from '../tensor/devices.ts'
import { cases, loadCase, tensorsOf } from './compressedCases.ts'

/* What is read of a layer that compressed-tensors compressed is written as it was, byte by byte. */

/** How inputs are rounded where the library has another format for weights alone. */
const inputs: Record<string, ComputeDType> = {
  'int-quantized': 'int8PerToken',
  'float-quantized': 'float8PerToken',
}

/**
 * Those whose codes are held in another way: act-order, words of whole codes, fewer bits than a byte in one.
 */
const others = /ordered|whole|int4-naive/

testOnDevices('tensors and settings are the library’s', async (device) => {
  for (const name of Object.keys(cases).filter((one) => !others.test(one))) {
    const { net, weight } = await loadCase(name, device)
    const { format, weights } = cases[name]
    assert.ok(net.fc instanceof QLinear)
    net.fc.computeDtype = inputs[format] ?? null
    const files = new Map<string, Uint8Array>()
    await save(net, memoryFolder(files), { format: 'compressed-tensors' })
    const file = await openSafetensors(await memoryFolder(files).open('model.safetensors'))
    const theirs = tensorsOf(name)
    assert.deepEqual([...file.tensors.keys()].sort(), Object.keys(theirs).sort(), name)
    for (const [key, { dtype, shape, bytes }] of Object.entries(theirs)) {
      const stored = file.tensors.get(key)
      assert.deepEqual([stored?.dtype, stored?.shape], [dtype, shape], `${name} ${key}`)
      assert.ok(Buffer.from(await file.read(key)).equals(bytes), `${name} ${key}`)
    }
    const config = JSON.parse(Buffer.from(files.get('config.json') ?? '').toString()).quantization_config
    const { group_0: group } = config.config_groups
    assert.equal(group.format, format, name)
    assert.deepEqual(group.targets, ['Linear'], name)
    assert.deepEqual(group.weights, { ...group.weights, ...weights }, name)
    assert.equal(group.input_activations !== null, format in inputs, name)
    assert.ok(weight)
    net.dispose()
  }
})
