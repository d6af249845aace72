import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import {
  freeze,
  initialize,
  load,
  Module,
  openDevice,
  type QuantizeOptions,
  quantize,
  ShapeError,
  save,
} from '../../src/index.ts'
import { Linear } from '../../src/nn/linear.ts'
import type { QWeightModule } from '../../src/nn/qmodule.ts'
import type { Tensor } from '../../src/tensor/tensor.ts'

/* What is otherwise for single layers, and the formats that say so. */

const device = openDevice('cpu', { threads: 1 })
const root = mkdtempSync(join(tmpdir(), 'lowbit-overrides-'))
after(() => {
  device.close()
  rmSync(root, { recursive: true })
})

class Block extends Module {
  a = new Linear(128, 64, { bias: false })
  b = new Linear(64, 128, { bias: false })
  forward(x: Tensor): Tensor {
    return this.b.forward(this.a.forward(x))
  }
}

class Net extends Module {
  layers = [new Block(), new Block()]
  head = new Linear(128, 64, { bias: false })
  forward(x: Tensor): Tensor {
    return this.head.forward(this.layers.reduce((y, layer) => layer.forward(y), x))
  }
}

const net = () => initialize(new Net(), device, { seed: 1 })

function typesOf(model: Module): Record<string, [type: string, groupSize: number | null]> {
  const found: Record<string, [string, number | null]> = {}
  for (const [path, module] of model.namedModules())
    if ('quantization' in module) {
      const { qtype, groupSize } = (module as QWeightModule).quantization
      found[path] = [qtype.name, groupSize]
    }
  return found
}

const options: QuantizeOptions = {
  ...{ weights: 'int4', groupSize: 32, zeroPoints: true, scaleDtype: 'float16' },
  overrides: { 'layers.0.a': { bits: 8 }, 're:layers\\.[01]\\.a': { bits: 3, groupSize: 64 }, head: null },
}

test('the first pattern that fits a layer says what is otherwise', () => {
  const model = net()
  assert.deepEqual(quantize(model, options), ['layers.0.a', 'layers.0.b', 'layers.1.a', 'layers.1.b'])
  assert.deepEqual(typesOf(model), {
    'layers.0.a': ['quint8', 32],
    'layers.0.b': ['qint4', 32],
    'layers.1.a': ['qint3', 64],
    'layers.1.b': ['qint4', 32],
  })
})

test('symmetric codes of 8 bits lie around 0, and −1 is a row, as in GPTQ', () => {
  const model = net()
  quantize(model, { ...options, symmetric: true, overrides: { '*.a': { bits: 8, groupSize: -1 } } })
  assert.deepEqual(typesOf(model)['layers.1.a'], ['qint8', null])
})

const floats = { 'layers.0.a': { bits: 8, symmetric: true }, 'layers.1.*': { bits: 2 }, head: null } as const
const quanto = { 'layers.0.a': { bits: 8, groupSize: null }, 'layers.1.*': { bits: 2 } } as const
const formats: Record<string, QuantizeOptions> = {
  gptq: { ...options, overrides: floats },
  'compressed-tensors': { ...options, overrides: floats },
  hqq: { weights: 'int4', groupSize: 64, algorithm: 'hqqZeros', overrides: { 'layers.1.*': { bits: 2 } } },
  mlx: { weights: 'int4', groupSize: 32, overrides: { 'layers.1.*': { bits: 2, groupSize: 64 } } },
  quanto: { weights: 'int4', overrides: quanto },
  gptq_v2: { ...options, overrides: floats },
  awq: { ...options, overrides: { 'layers.0.a': null } },
  bitsandbytes: { weights: 'nf4', overrides: { 'layers.0.a': { weights: 'fp4', groupSize: 128 } } },
  torchao: { ...options, overrides: { 'layers.*.a': { bits: 2, groupSize: 64 }, head: { bits: 3 } } },
}

for (const [format, given] of Object.entries(formats))
  test(`${format} says of each layer how it is quantized`, async () => {
    const model = net()
    quantize(model, given)
    freeze(model)
    const out = join(root, format)
    await save(model, out, { format, onWarning: () => {} })
    const again = new Net()
    await load(again, out, { device })
    const kinds = (one: Module) =>
      [...one.namedTensors()].map(([path, tensor]) =>
        'qtype' in tensor ? [path, tensor.qtype.name, tensor.block] : [path],
      )
    assert.deepEqual(kinds(again), kinds(model))
    for (const [path, tensor] of model.namedTensors()) {
      const read = again.getParameter(path).dequantize()
      assert.deepEqual(await read.toNumbers(), await tensor.dequantize().toNumbers(), path)
    }
  })

test('a format that has no settings of single layers refuses them in one sentence', async () => {
  const tiles: QuantizeOptions = { weights: 'float8_e4m3fn', groupSize: 32, blockRows: 32 }
  const refusals: [format: string, given: QuantizeOptions, message: RegExp][] = [
    [
      'awq',
      { ...options, overrides: { head: { groupSize: 64 } } },
      /^save: AWQ must have groups of one size; layers\.1\.b has groups of 32, head of 64$/,
    ],
    [
      'awq_gemv',
      { ...options, overrides: { head: { bits: 3 } } },
      /^save: awq_gemv must be able to hold head; it is qint3, and AWQ takes integers of 4 bits$/,
    ],
    [
      'fp8',
      { ...tiles, overrides: { head: { groupSize: 64 } } },
      /^save: fp8 takes tiles of one size; layers\.0\.a has 32 × 32, head tiles of 32 × 64$/,
    ],
    [
      'bitsandbytes',
      { weights: 'nf4', overrides: { head: { weights: 'int4' } } },
      /^save: bitsandbytes must be able to hold head; it is qint4, /,
    ],
  ]
  for (const [format, given, message] of refusals) {
    const model = net()
    quantize(model, given)
    freeze(model)
    const out = join(root, 'refused')
    await assert.rejects(save(model, out, { format, onWarning: () => {} }), { name: 'FormatError', message })
  }
})

test('what is no override is refused in one sentence', () => {
  const refusals: [QuantizeOptions['overrides'], RegExp][] = [
    [{ 'layer.*': { bits: 3 } }, /^quantize: overrides: "layer\.\*" must match a module; the nearest are /],
    [
      { 're:(': { bits: 3 } },
      /^quantize: overrides: a name with re: must be a regular expression; received "re:\("$/,
    ],
    [
      { head: { bits: 9 } },
      /^quantize: overrides: "head": bits must be a whole number in 1\.\.8; received 9$/,
    ],
    [
      { head: { bits: 3, weights: 'int4' } },
      /^quantize: overrides: "head" must say one of weights, bits and type; received weights and bits$/,
    ],
  ]
  for (const [overrides, message] of refusals)
    assert.throws(
      () => quantize(net(), { ...options, overrides }),
      (error) => error instanceof ShapeError && message.test(error.message),
    )
})
