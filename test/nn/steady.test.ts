import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Backend } from '../../src/devices/backend.ts'
import { openNative } from '../../src/devices/cpu/native.ts'
import { openWasm } from '../../src/devices/cpu/wasm.ts'
import { Device } from '../../src/devices/device.ts'
import { BatchNorm2d } from '../../src/nn/batchNorm.ts'
import { Conv2d } from '../../src/nn/conv2d.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { crossEntropyLoss } from '../../src/nn/losses.ts'
import { Module } from '../../src/nn/module.ts'
import { AdamW } from '../../src/nn/optim/adam.ts'
import { trainEpoch } from '../../src/nn/training.ts'
import { calibrate } from '../../src/quantize/calibrate.ts'
import { type QuantizeOptions, quantize } from '../../src/quantize/quantize.ts'
import { flatten, maxPool2d, relu } from '../../src/tensor/ops/index.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'

/*
 * Memory stays flat over many training steps.
 *
 *   LOWBIT_TRAINING_STEPS=10000   so many in each run instead of 500
 */

const steps = Number(process.env.LOWBIT_TRAINING_STEPS ?? 500)
/** Steps between two reads: what is recorded but has not run holds memory, too. */
const checkEvery = 50
/**
 * What the process may hold more than after a quarter of the steps: garbage of JavaScript that waits to be
 * collected.
 */
const growthLimitBytes = 32e6

class Net extends Module {
  conv = new Conv2d(1, 8, 3, { padding: 1 })
  norm = new BatchNorm2d(8)
  first = new Linear(128, 32)
  second = new Linear(32, 10)

  forward(x: Tensor): Tensor {
    return scope(() => {
      const image = maxPool2d(relu(this.norm.forward(this.conv.forward(x))), 2)
      return this.second.forward(relu(this.first.forward(flatten(image, 1))))
    })
  }
}

const backends: Record<string, () => Backend> = {
  native: () => openNative({ threads: 2 }),
  wasm: () => openWasm({ threads: 1 }),
}
const variants: Record<string, QuantizeOptions | null> = {
  float32: null,
  'int4 weights, int8 activations': { weights: 'int4', activations: 'int8' },
}

for (const name of deviceNames) {
  const open = backends[name]
  for (const [variant, options] of Object.entries(variants)) {
    test(`${steps} training steps, ${variant} on ${name}: memory stays flat`, async (t) => {
      const backend = open()
      let blocks = 0
      const counted: Backend = Object.create(backend, {
        allocate: { value: (bytes: number) => ++blocks && backend.allocate(bytes) },
      })
      const device = new Device(counted)
      const net = initialize(new Net(), device)
      const x = Tensor.fromNumbers(
        device,
        Float32Array.from({ length: 16 * 64 }, (_, i) => Math.sin(i)),
        [16, 1, 8, 8],
      )
      const y = Tensor.fromArray(
        device,
        Int32Array.from({ length: 16 }, (_, i) => i % 10),
      )
      if (options) {
        quantize(net, options)
        await calibrate(net, () => scope(() => void net.forward(x)))
      }
      const optimizer = new AdamW(net.parameters())
      const seen: { blocks: number; bytes: number; resident: number }[] = []
      const losses = await trainEpoch(net, Array(steps).fill(null), {
        optimizer,
        checkEvery,
        clipNorm: 1,
        loss: () => crossEntropyLoss(net.forward(x), y),
        onProgress: () =>
          void seen.push({ blocks, bytes: device.allocatedBytes, resident: process.memoryUsage().rss }),
      })
      assert.ok(
        Math.min(...losses) < 0.9 * losses[0],
        `the loss falls: from ${losses[0]} to ${Math.min(...losses)}`,
      )
      // The first read comes after many steps, when moments and gradients are there: from then on not a
      // block, not a byte more.
      const [{ blocks: firstBlocks, bytes: firstBytes }] = seen
      for (const { blocks, bytes } of seen)
        assert.deepEqual({ blocks, bytes }, { blocks: firstBlocks, bytes: firstBytes })
      const resident = seen.slice(Math.floor(seen.length / 4)).map((one) => one.resident)
      const grown = Math.max(...resident) - resident[0]
      t.diagnostic(
        `${firstBlocks} blocks, ${firstBytes} bytes in tensors, ${(grown / 1e6).toFixed(1)} MB more than after a quarter`,
      )
      assert.ok(grown < growthLimitBytes, `resident: ${resident.map((value) => Math.round(value / 1e6))} MB`)
      for (const owned of [optimizer, net, x, y]) owned.dispose()
      assert.equal(device.allocatedBytes, 0)
      await device.close()
    })
  }
}
