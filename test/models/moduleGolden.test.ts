import assert from 'node:assert/strict'
import { load } from '../../src/checkpoints/load.ts'
import { save } from '../../src/checkpoints/save.ts'
import { requantize, stateDict } from '../../src/checkpoints/stateDict.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import type { Module } from '../../src/nn/module.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { quantizationMap } from '../../src/quantize/quantize.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from '../tensor/devices.ts'
import { maps, Plain, Shared, Single, stateOf, Tied, valuesOf } from './moduleGolden.ts'

const models = [
  { name: 'shared', make: () => new Shared() },
  // As safetensors' save_model writes it: each tensor once.
  { name: 'once', make: () => new Shared() },
  { name: 'tied', make: () => new Tied() },
  { name: 'plain', make: () => new Plain() },
  { name: 'single4', make: () => new Single() },
  { name: 'single2', make: () => new Single() },
]

for (const { name, make } of models) {
  const golden = name === 'once' ? 'shared' : name
  testOnDevices(
    `${name}: what optimum-quanto saved computes the same, and again from a folder`,
    async (device) => {
      const { shape, values } = valuesOf(`${golden}.x`)
      const x = Tensor.fromArray(device, values.slice(), shape)
      const check = async (model: Module & { forward(x: Tensor): Tensor }) => {
        const y = model.forward(x)
        const theirs = valuesOf(`${golden}.output`).values
        // A step of quantized activations is a thousand times as much.
        for (const [i, value] of (await y.toNumbers()).entries())
          assert.ok(Math.abs(value - theirs[i]) < 2e-6, `${i}: ${value}, not ${theirs[i]}`)
        y.dispose()
      }
      const model = make()
      await requantize(model, stateOf(name), maps[golden], { device })
      await check(model)
      const state = await stateDict(model)
      assert.deepEqual(
        [...state.keys()].sort(),
        [...stateOf(golden).keys()].sort(),
        'every path, as state_dict lists them',
      )
      for (const [key, { bytes, shape: own }] of state) {
        const theirs = stateOf(golden).get(key)
        // A convolution's scales are stretched to all columns.
        if (key.startsWith('conv.weight._s')) continue
        assert.deepEqual([own, Buffer.from(bytes)], [theirs?.shape, Buffer.from(theirs?.bytes ?? [])], key)
      }
      const files = new Map<string, Uint8Array>()
      await save(model, memoryFolder(files))
      const again = await load(make(), memoryFolder(files), { device })
      await check(again)
      assert.deepEqual(quantizationMap(again), quantizationMap(model))
      for (const own of [model, again, x]) own.dispose()
      assert.equal(device.allocatedBytes, 0)
    },
  )
}

testOnDevices('a shared layer is written once and stays one', async (device) => {
  const model = new Shared()
  await requantize(model, stateOf('once'), maps.shared, { device })
  assert.ok(model.layers[0].fc === model.layers[2].fc)
  assert.deepEqual(Object.keys(quantizationMap(model)), ['layers.0.fc', 'layers.1.fc', 'layers.2.fc'])
  const files = new Map<string, Uint8Array>()
  await save(model, memoryFolder(files))
  const header = new TextDecoder().decode(files.get('model.safetensors')).slice(8)
  assert.deepEqual(
    [...header.matchAll(/"(layers[^"]*)":/g)].map(([, name]) => name).sort(),
    [...stateOf('once').keys()].sort(),
    'the names that save_model writes',
  )
  model.dispose()
})

testOnDevices('weights that were tied are tied again', async (device) => {
  const model = new Tied()
  await requantize(model, stateOf('tied'), maps.tied, { device })
  assert.ok(model.a.weight instanceof QTensor && model.a.weight === model.b.weight)
  model.dispose()
})
