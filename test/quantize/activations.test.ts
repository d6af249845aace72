import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import type { QTypeName } from '../../src/core/qtype.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { type Device, openDevice } from '../../src/index.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { QLinear } from '../../src/nn/qlinear.ts'
import { calibrate } from '../../src/quantize/calibrate.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { backward } from '../../src/tensor/backward.ts'
import { mean, mul, unary } from '../../src/tensor/ops/index.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'

/*
 * A small MLP beside what optimum-quanto computes of it: scales after three batches, and the output of the
 * first one.
 */

const folder = join(import.meta.dirname, '../golden/quanto')

interface Case {
  name: string
  weights: QTypeName
  activations: QTypeName
  momentum: number
  streamline: boolean
  seed: number
}

const { cases, batches }: { cases: Case[]; batches: number } = JSON.parse(
  readFileSync(join(folder, 'activations.json'), 'utf8'),
)

const file = await openSafetensors(await diskFolder(folder).open('activations.safetensors'))
const golden = new Map<string, Float32Array>()
for (const name of file.tensors.keys())
  golden.set(name, new Float32Array((await file.read(name)).slice().buffer))
await file.close()

function values(name: string): Float32Array {
  const found = golden.get(name)
  assert.ok(found, name)
  return found
}

/** Linear, ReLU, Linear, ReLU, Linear; its layers are 0, 2 and 4 of the Python model. */
class MLP extends Module {
  layers: Linear[]

  constructor(device: Device, seed: number) {
    super()
    this.layers = [new Linear(24, 16), new Linear(16, 12), new Linear(12, 5, { bias: false })]
    for (const [i, layer] of this.layers.entries()) {
      layer.weight = Tensor.fromArray(device, values(`float${seed}.${2 * i}.weight`), layer.weight.shape)
      if (layer.bias) layer.bias = Tensor.fromArray(device, values(`float${seed}.${2 * i}.bias`))
    }
  }

  forward(x: Tensor): Tensor {
    return scope(() => {
      const [first, second, third] = this.layers
      return third.forward(unary('relu', second.forward(unary('relu', first.forward(x)))))
    })
  }
}

function batch(device: Device, i: number): Tensor {
  return Tensor.fromArray(device, values(`batch.${i}`), [6, 24])
}

/** The model, quantized and calibrated as the case says. */
async function calibrated(
  device: Device,
  { weights, activations, momentum, streamline, seed }: Case,
): Promise<MLP> {
  const model = new MLP(device, seed)
  quantize(model, { weights, activations })
  const run = () => {
    for (let i = 0; i < batches; i++) scope(() => void model.forward(batch(device, i)))
  }
  await calibrate(model, run, { momentum, streamline, mirror: 'quanto' })
  return model
}

/**
 * Gradients of mean(y · target) of the model that is not frozen; products are those of the same codes, their
 * sums in another order.
 */
async function compareGradients(device: Device, model: MLP, { name }: Case): Promise<void> {
  const target = Tensor.fromArray(device, values('target'), [6, 5])
  for (const parameter of model.parameters()) if (parameter instanceof Tensor) parameter.requiresGrad = true
  backward(() => mean(mul(model.forward(batch(device, 0)), target))).dispose()
  for (const [path, parameter] of model.namedParameters()) {
    assert.ok(parameter instanceof Tensor && parameter.grad, path)
    const theirs = values(`${name}.grad.${path.replace(/layers\.(\d)/, (_, i) => String(2 * i))}`)
    const largest = Math.max(...theirs.map(Math.abs))
    for (const [i, value] of (await parameter.grad.toNumbers()).entries()) {
      assert.ok(
        Math.abs(value - theirs[i]) <= 2e-6 * largest,
        `gradient ${i} of ${path} is ${value}, quanto's ${theirs[i]}`,
      )
    }
    parameter.requiresGrad = false
  }
}

function qlinears(model: MLP): QLinear[] {
  return model.layers.map((layer) => {
    assert.ok(layer instanceof QLinear)
    return layer
  })
}

for (const name of deviceNames) {
  describe(`quantized activations on ${name}`, () => {
    const device = openDevice(name)
    after(() => device.close())

    for (const golden of cases) {
      const { weights, activations, momentum, streamline } = golden
      test(`${weights} × ${activations}, momentum ${momentum}${streamline ? ', streamlined' : ''}`, async () => {
        const model = await calibrated(device, golden)
        for (const [i, layer] of qlinears(model).entries()) {
          for (const scale of ['input_scale', 'output_scale'] as const) {
            assert.ok(layer[scale])
            const [ours] = await layer[scale].toNumbers()
            const [theirs] = values(`${golden.name}.${2 * i}.${scale}`)
            // Sums of 24 products in another order; integers and what was rounded to them are equal.
            assert.ok(
              Math.abs(ours / theirs - 1) < 1e-6,
              `${scale} of layer ${i} is ${ours}, quanto's ${theirs}`,
            )
          }
        }
        const compare = async () => {
          const y = model.forward(batch(device, 0))
          const theirs = values(`${golden.name}.output`)
          const largest = Math.max(...theirs.map(Math.abs))
          for (const [i, value] of (await y.toNumbers()).entries()) {
            assert.ok(
              Math.abs(value - theirs[i]) <= 1e-6 * largest,
              `output ${i} is ${value}, quanto's ${theirs[i]}`,
            )
          }
          y.dispose()
        }
        await compare()
        await compareGradients(device, model, golden)
        freeze(model)
        await compare()
        model.dispose()
      })
    }
  })
}
