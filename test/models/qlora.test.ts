import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import type { Device } from '../../src/devices/device.ts'
import { type DeviceName, openDevice } from '../../src/devices/open.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { Conv1D, QConv1D } from '../../src/nn/gptConv1D.ts'
import { crossEntropyLoss } from '../../src/nn/losses.ts'
import { Module } from '../../src/nn/module.ts'
import { SGD } from '../../src/nn/optim/sgd.ts'
import { linear } from '../../src/qtensor/linear.ts'
import { memoryFootprint } from '../../src/quantize/quantize.ts'
import { backward } from '../../src/tensor/backward.ts'
import { add, slice } from '../../src/tensor/ops/index.ts'
import { keep } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { golden as root } from '../golden.ts'

/*
 * A step of QLoRA: a pair of small matrices beside each layer of an NF4 model, y = W x + B A x, learns while
 * the codes stay. Gradients are PyTorch's; made by scripts/make-qlora-fixture.py.
 */

const golden = join(root, 'shakespeare-gpt2-1M')
const ids: number[] = JSON.parse(readFileSync(join(golden, 'inputs.json'), 'utf8')).ppl_ids
const expected: {
  rank: number
  tokens: number
  loss: number
  gradients: Record<string, { norm: number; first: number[] }>
} = JSON.parse(readFileSync(join(import.meta.dirname, '../golden/qlora-gradients.json'), 'utf8'))

class LowRank extends Module {
  /** Put in once the pair stands in its place. */
  layer: (Module & { forward(x: Tensor): Tensor }) | null = null
  /** [rank, inputs] */
  a: Tensor
  /** [outputs, rank] */
  b: Tensor

  constructor([outputs, inputs]: readonly [number, number], device: Device) {
    super()
    const { rank } = expected
    const values = (rows: number, cols: number, value: (row: number, col: number) => number) =>
      Float32Array.from({ length: rows * cols }, (_, i) => value(Math.floor(i / cols), i % cols) / 10)
    const a = values(rank, inputs, (r, k) => Math.sin(97 * r + k))
    const b = values(outputs, rank, (n, r) => Math.cos(13 * n + r))
    this.a = keep(Tensor.fromArray(device, a, [rank, inputs]))
    this.b = keep(Tensor.fromArray(device, b, [outputs, rank]))
    this.a.requiresGrad = true
    this.b.requiresGrad = true
  }

  forward(x: Tensor): Tensor {
    assert.ok(this.layer)
    return add(this.layer.forward(x), linear(linear(x, this.a), this.b))
  }
}

/** Puts a pair beside every layer of GPT-2's blocks. */
function withPairs(model: CausalLM, device: Device): Map<string, LowRank> {
  const pairs = new Map<string, LowRank>()
  const layers = new Map<QConv1D | Conv1D, LowRank>()
  for (const [path, module] of model.namedModules()) {
    if (!(module instanceof QConv1D || module instanceof Conv1D)) continue
    const pair = new LowRank([module.nf, module.nx], device)
    pairs.set(path, pair)
    layers.set(module, pair)
  }
  model.replaceModules(layers)
  for (const [layer, pair] of layers) pair.layer = layer
  return pairs
}

const lossOf = (model: CausalLM) => {
  const tokens = ids.slice(0, expected.tokens)
  const logits = slice(model.forward(tokens), 1, 0, -1)
  return crossEntropyLoss(logits.view([tokens.length - 1, 1024]), tokens.slice(1))
}

for (const name of (process.env.LOWBIT_DEVICES ?? 'native,wasm').split(',') as DeviceName[]) {
  describe(`QLoRA on ${name}`, () => {
    const device = openDevice(name, { threads: 2 })
    /** The most bytes that tensors held since it was set. */
    let peakBytes = 0
    const { allocate } = device
    device.allocate = (bytes) => {
      const storage = allocate.call(device, bytes)
      peakBytes = Math.max(peakBytes, device.allocatedBytes)
      return storage
    }
    after(() => device.close())
    const load = (dequantize: boolean) =>
      loadCausalLM(diskFolder(join(golden, 'bnb-nf4')), { device, dequantize })

    test('loss and gradients of PyTorch, and steps that lower the loss', async () => {
      using model = await load(false)
      const pairs = withPairs(model, device)
      assert.equal(2 * pairs.size, Object.keys(expected.gradients).length)
      const loss = backward(() => lossOf(model))
      const [before] = await loss.toNumbers()
      loss.dispose()
      assert.ok(
        Math.abs(Number(before) - expected.loss) <= 1e-6 * expected.loss,
        `${before}, not ${expected.loss}`,
      )
      for (const [path, { norm, first }] of Object.entries(expected.gradients)) {
        const pair = pairs.get(path.slice(0, -2)) as LowRank
        const { grad } = path.endsWith('.a') ? pair.a : pair.b
        assert.ok(grad, path)
        const values = await grad.toNumbers()
        // Float32 through four layers: 20 epsilon of the whole gradient, for its norm and each of its values.
        const bound = 20 * 2 ** -23 * norm
        let squares = 0
        for (const value of values) squares += Number(value) ** 2
        const ours = Math.sqrt(squares)
        assert.ok(Math.abs(ours - norm) <= bound, `${path}: norm ${ours}, not ${norm}`)
        for (const [i, value] of first.entries())
          assert.ok(Math.abs(Number(values[i]) - value) <= bound, `${path}[${i}]: ${values[i]}, not ${value}`)
      }
      const optimizer = new SGD(
        [...pairs.values()].flatMap(({ a, b }) => [a, b]),
        { lr: 0.05 },
      )
      optimizer.step()
      optimizer.zeroGrad()
      const next = backward(() => lossOf(model))
      const [later] = await next.toNumbers()
      assert.ok(Number(later) < Number(before), `${later} after a step, ${before} before`)
      next.dispose()
    })

    test('a step holds the codes and scales, and what it would hold beside frozen floats', async () => {
      const measured: { weights: number; step: number }[] = []
      for (const dequantize of [false, true]) {
        using model = await load(dequantize)
        const pairs = withPairs(model, device)
        // The second step allocates nothing that stays.
        for (let step = 0; step < 2; step++) {
          await device.sync()
          const before = device.allocatedBytes
          peakBytes = before
          const loss = backward(() => lossOf(model))
          await loss.toNumbers()
          loss.dispose()
          for (const { a, b } of pairs.values())
            for (const tensor of [a, b]) {
              tensor.grad?.dispose()
              tensor.grad = null
            }
          measured[Number(dequantize)] = { weights: memoryFootprint(model), step: peakBytes - before }
        }
      }
      const [codes, floats] = measured
      const panel = 2 ** 16
      console.log(
        `QLoRA on ${name}: NF4 weights ${codes.weights}, a step ${codes.step} more; floats ${floats.weights}, ${floats.step} more`,
      )
      assert.ok(codes.step <= floats.step + panel, `${codes.step} beside codes, ${floats.step} beside floats`)
      assert.ok(codes.weights < floats.weights / 2)
    })
  })
}
