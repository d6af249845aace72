import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { load } from '../../src/checkpoints/load.ts'
import { save } from '../../src/checkpoints/save.ts'
import { loadStateDict, requantize, type SavedTensor, stateDict } from '../../src/checkpoints/stateDict.ts'
import { asDType } from '../../src/core/dtype.ts'
import { openDevice } from '../../src/devices/open.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import { Conv2d } from '../../src/nn/conv2d.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { LayerNorm } from '../../src/nn/normalization.ts'
import type { QWeightModule } from '../../src/nn/qmodule.ts'
import { Sequential } from '../../src/nn/sequential.ts'
import { calibrate } from '../../src/quantize/calibrate.ts'
import { freeze, type QuantizeOptions, quantizationMap, quantize } from '../../src/quantize/quantize.ts'
import { flatten, relu } from '../../src/tensor/ops/index.ts'
import { keep, scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'

/*
 * A small network with every layer that quanto knows, beside what quanto made of it
 * (scripts/make-activation-fixtures.py).
 */

class CNN extends Module {
  conv = new Conv2d(2, 4, 3, { stride: 2, padding: 1 })
  norm = new LayerNorm(4)
  fc = new Linear(64, 5)

  forward(x: Tensor): Tensor {
    return scope(() => this.fc.forward(flatten(relu(this.norm.forward(this.conv.forward(x))), 1)))
  }
}

const file = await openSafetensors(
  await diskFolder(join(import.meta.dirname, '../golden/quanto')).open('activations.safetensors'),
)
const golden = new Map<string, SavedTensor>()
for (const { name, dtype, shape } of file.tensors.values())
  golden.set(name, { dtype: asDType(dtype), shape, bytes: (await file.read(name)).slice() })
await file.close()

/** The tensors under a prefix. */
function under(prefix: string): Map<string, SavedTensor> {
  return new Map(
    [...golden]
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, tensor]) => [name.slice(prefix.length), tensor]),
  )
}

const frozen = under('cnn.frozen.')
const float = new Map([...under('cnn.')].filter(([name]) => /^(conv|norm|fc)\./.test(name)))
const map = {
  conv: { weights: 'qint8', activations: 'qint8' },
  norm: { weights: 'none', activations: 'qint8' },
  fc: { weights: 'qint8', activations: 'qint8' },
} as const

for (const name of deviceNames) {
  describe(`state dictionaries on ${name}`, () => {
    const device = openDevice(name)
    after(async () => {
      assert.equal(device.allocatedBytes, 0, 'disposed models hold nothing')
      await device.close()
    })

    const floatsOf = (key: string) =>
      new Float32Array(golden.get(key)?.bytes.slice().buffer ?? new ArrayBuffer(0))

    async function checkOutput(model: CNN): Promise<void> {
      const x = Tensor.fromArray(device, floatsOf('cnn.x'), [3, 2, 8, 8])
      const y = model.forward(x)
      const theirs = floatsOf('cnn.output')
      // Whole multiples of the output's scale: a wrong scale or weight moves them by a step.
      for (const [i, value] of (await y.toNumbers()).entries())
        assert.ok(Math.abs(value - theirs[i]) < 1e-6, `${i}: ${value}, not ${theirs[i]}`)
      for (const tensor of [x, y]) tensor.dispose()
    }

    test('requantize fills a model without memory with what quanto saved', async () => {
      using model = new CNN()
      await requantize(model, frozen, map, { device })
      assert.deepEqual(quantizationMap(model), map)
      await checkOutput(model)
      const again = await stateDict(model)
      assert.deepEqual([...again.keys()].sort(), [...frozen.keys()].sort())
      for (const [key, { bytes, shape }] of again) {
        assert.deepEqual(shape, frozen.get(key)?.shape, key)
        assert.ok(Buffer.from(bytes).equals(Buffer.from(frozen.get(key)?.bytes ?? [])), key)
      }
      assert.match(
        String(model),
        /\(conv\): QConv2d\(2, 4, kernel_size=\(3, 3\), stride=\(2, 2\), padding=\(1, 1\)\)\n {2}\(norm\): QLayerNorm\(\(4,\)/,
      )
    })

    test('quantize, calibrate and freeze make of the float model what quanto makes', async () => {
      using model = new CNN()
      await loadStateDict(model, float, { device })
      assert.deepEqual(quantize(model, { weights: 'int8', activations: 'int8', layers: 'quanto' }), [
        'conv',
        'norm',
        'fc',
      ])
      const x = Tensor.fromArray(device, floatsOf('cnn.x'), [3, 2, 8, 8])
      await calibrate(model, () => model.forward(x).dispose(), { streamline: false })
      x.dispose()
      freeze(model)
      for (const [key, { bytes }] of await stateDict(model)) {
        const theirs = frozen.get(key)
        assert.ok(theirs, key)
        if (!key.endsWith('put_scale')) assert.ok(Buffer.from(bytes).equals(Buffer.from(theirs.bytes)), key)
        else {
          const [a, b] = [bytes, theirs.bytes].map((raw) => new Float32Array(raw.slice().buffer)[0])
          assert.ok(Math.abs(a / b - 1) < 1e-6, `${key} is ${a}, quanto's ${b}`)
        }
      }
      await checkOutput(model)
    })

    test('a folder gives back what was saved', async () => {
      using model = new CNN()
      await requantize(model, frozen, map, { device })
      const files = new Map<string, Uint8Array>()
      await save(model, memoryFolder(files))
      assert.deepEqual([...files.keys()].sort(), ['model.safetensors', 'quanto_qmap.json'])
      using again = await load(new CNN(), memoryFolder(files), { device })
      await checkOutput(again)
      const text = files.get('quanto_qmap.json')
      assert.ok(text)
      files.delete('quanto_qmap.json')
      files.set('quantization_map.json', text)
      using third = await load(new CNN(), memoryFolder(files), { device })
      await checkOutput(third)
    })

    test('without strict, what is missing stays and what is unknown is passed over; both are told', async () => {
      using model = new CNN()
      await loadStateDict(model, float, { device })
      const before = await model.fc.bias?.readBytes()
      const partial = new Map(float)
      partial.delete('fc.bias')
      partial.set('fc.extra', { dtype: 'float32', shape: [], bytes: new Uint8Array(4) })
      partial.set('fc.weight', { dtype: 'float32', shape: [5, 64], bytes: new Uint8Array(4 * 5 * 64) })
      // The names that torch's load_state_dict(strict=False) gives back.
      assert.deepEqual(await loadStateDict(model, partial, { strict: false }), {
        missingKeys: ['fc.bias'],
        unexpectedKeys: ['fc.extra'],
      })
      assert.deepEqual(await model.fc.bias?.readBytes(), before)
      assert.ok((await model.fc.weight.readBytes()).every((byte) => byte === 0))
      // Another shape is an error all the same, as in torch.
      partial.set('fc.weight', { dtype: 'float32', shape: [5, 63], bytes: new Uint8Array(4 * 5 * 63) })
      await assert.rejects(loadStateDict(model, partial, { strict: false }), {
        message: /fc\.weight must be \[5,64\]; it is \[5,63\]$/,
      })
      assert.deepEqual(await loadStateDict(model, float), { missingKeys: [], unexpectedKeys: [] })
      const files = new Map<string, Uint8Array>()
      await save(model, memoryFolder(files))
      class Wider extends CNN {
        head = new Linear(5, 2)
      }
      using wider = initialize(new Wider(), device)
      const said: string[] = []
      await load(wider, memoryFolder(files), {
        device,
        strict: false,
        onWarning: (message) => said.push(message),
      })
      assert.deepEqual(said, ['load: memory has no head.weight, head.bias; they are as they were'])
    })

    test('scales of activations that are missing stay, without strict', async () => {
      using model = new CNN()
      await requantize(model, frozen, map, { device })
      const partial = new Map([...frozen].filter(([name]) => name !== 'fc.input_scale'))
      assert.deepEqual(await loadStateDict(model, partial, { strict: false }), {
        missingKeys: ['fc.input_scale'],
        unexpectedKeys: [],
      })
      await checkOutput(model)
    })

    test('what does not fit is listed in one error', async () => {
      using model = new CNN()
      const wrong = new Map(float)
      wrong.delete('fc.bias')
      wrong.set('fc.extra', { dtype: 'float32', shape: [], bytes: new Uint8Array(4) })
      wrong.set('norm.weight', { dtype: 'float32', shape: [2], bytes: new Uint8Array(8) })
      await assert.rejects(loadStateDict(model, wrong, { device }), {
        name: 'FormatError',
        message:
          'state: the tensors must be those of the model; norm.weight must be [4]; it is [2]; fc.bias is missing; fc.extra is not a part of the model',
      })
      assert.ok(model.conv.weight.isMeta, 'nothing was put')
      await assert.rejects(requantize(model, frozen, { ...map, cov: map.conv }, { device }), {
        name: 'ShapeError',
        message:
          'requantize: the map must name layers of the model; "cov" is not one, the nearest are conv, norm, fc',
      })
      await assert.rejects(
        requantize(model, frozen, { ...map, fc: { weights: 'qint4', activations: 'none' } }, { device }),
        {
          name: 'FormatError',
          message: /fc\.weight\._data\._data/,
        },
      )
    })
  })
}

/** Kinds of weights of which quanto has some, and other schemes the others. */
const kinds: Record<string, QuantizeOptions> = {
  quanto: { weights: 'int4' },
  'bitsandbytes, scales quantized': { weights: 'nf4', algorithm: 'doubleQuant' },
  'LLM.int8': { weights: 'int8', algorithm: 'llmInt8' },
  'zero points': { weights: 'int4', groupSize: 32, zeroPoints: true },
  'symmetric zero points': { weights: 'int4', groupSize: 32, zeroPoints: true, symmetric: true },
  'zero points, scales of halves': {
    ...{ weights: 'int4', groupSize: 32, zeroPoints: true },
    scaleDtype: 'float16',
  },
  'groups of int8': { weights: 'int8', groupSize: 32 },
  mlx: { weights: 'int4', groupSize: 32, algorithm: 'mlx' },
  'float zero points': { weights: 'int4', groupSize: 32, algorithm: 'hqqZeros' },
  tiles: { weights: 'float8', groupSize: 32, blockRows: 32, algorithm: 'minmax', scaleDtype: 'float32' },
}

for (const [kind, options] of Object.entries(kinds))
  test(`${kind}: a state goes into another model of the kind, frozen or yet to be`, async () => {
    const device = openDevice('cpu', { threads: 1 })
    const made = (seed: number) => {
      const net = initialize(new Sequential(new Linear(64, 64), new Linear(64, 32)), device, { seed })
      quantize(net, options)
      return net
    }
    const values = (net: Module, path: string) =>
      scope(() => keep((net.getModule(path) as QWeightModule).quantizedWeight().dequantize())).toNumbers()
    const net = made(1)
    freeze(net)
    const state = await stateDict(net)
    const [frozen, other] = [made(2), made(2)]
    freeze(frozen)
    for (const into of [frozen, other]) {
      assert.deepEqual(await loadStateDict(into, state), { missingKeys: [], unexpectedKeys: [] })
      for (const path of ['0', '1']) assert.deepEqual(await values(into, path), await values(net, path))
    }
    // Floats of training go in and out as they are.
    const [training, again] = [made(3), made(4)]
    await loadStateDict(again, await stateDict(training))
    assert.deepEqual(await values(again, '0'), await values(training, '0'))
    await device.close()
  })
