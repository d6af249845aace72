import assert from 'node:assert/strict'
import { after, mock, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { QLinear } from '../../src/nn/qlinear.ts'
import { calibrate } from '../../src/quantize/calibrate.ts'
import { percentile } from '../../src/quantize/observers.ts'
import { freeze, type QuantizeOptions, quantize } from '../../src/quantize/quantize.ts'
import { add, relu } from '../../src/tensor/ops/index.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'

const device = openDevice('cpu')
after(() => device.close())

/** y = x + c(relu(b(a(x)))), each layer 2 · x. */
class Net extends Module {
  a = doubling()
  b = doubling()
  c = doubling()

  forward(x: Tensor): Tensor {
    return scope(() => add(x, this.c.forward(relu(this.b.forward(add(this.a.forward(x), x))))))
  }
}

function doubling(): Linear {
  const layer = new Linear(2, 2, { bias: false })
  layer.weight = Tensor.fromNumbers(device, [2, 0, 0, 2], [2, 2])
  return layer
}

function quantized(options: Partial<QuantizeOptions> = {}): Net {
  const net = new Net()
  quantize(net, { weights: 'int8', activations: 'int8', ...options })
  return net
}

const row = (...numbers: number[]) => Tensor.fromNumbers(device, numbers, [1, 2])

test('scales move with the momentum, those of inputs too, unless quanto is to be mirrored', async () => {
  const net = quantized()
  const pass = (largest: number) => () => scope(() => void net.forward(row(largest, -1)))
  const [first] = await calibrate(net, pass(254))
  assert.deepEqual([first.inputScale, first.outputScale], [2, 4])
  // 0.5 · 2 + 0.5 · 3; what is taken in is cut off at 127 · 2.5 = 317.5, so that what comes out is 635 at
  // most: 0.5 · 4 + 0.5 · 5.
  const [second] = await calibrate(net, pass(381), { momentum: 0.5 })
  assert.deepEqual([second.inputScale, second.outputScale], [2.5, 4.5])
  const [mirrored] = await calibrate(net, pass(381), { momentum: 0.5, mirror: 'quanto' })
  assert.ok(Math.abs(mirrored.inputScale - (0.9 * 2.5 + 0.1 * 3)) < 1e-6)
})

test('streamlining keeps the outputs quantized that a quantized layer takes', async () => {
  const net = quantized()
  const lines: string[] = []
  const found = await calibrate(net, () => scope(() => void net.forward(row(3, -1))), {
    debug: (line) => lines.push(line),
  })
  assert.deepEqual(
    found.map(({ path, outputQuantized, keptBy }) => [path, outputQuantized, keptBy]),
    [
      ['a', false, []],
      ['b', true, ['relu']],
      ['c', false, []],
    ],
  )
  assert.match(lines[1], /^b: input scale .*, output scale .*, output quantized, kept quantized by relu/)
  const all = quantized()
  const unstreamlined = await calibrate(all, () => scope(() => void all.forward(row(3, -1))), {
    streamline: false,
  })
  assert.ok(unstreamlined.every(({ outputQuantized }) => outputQuantized))
})

test('a failed calibration says why in one sentence, and leaves the scales as they were', async () => {
  const net = quantized()
  const fails = (run: () => unknown, message: string | RegExp, options = {}) =>
    assert.rejects(calibrate(net, run, options), { message })
  await fails(
    () => {},
    'calibrate: run must pass at least one batch through the model; no quantized module was reached',
  )
  await fails(
    () => scope(() => void net.forward(row(NaN, 1))),
    'calibrate: activations must be finite; the input of a held NaN',
  )
  assert.equal(net.a instanceof Module && Reflect.get(net.a, 'input_scale'), null)
  await fails(() => {}, 'calibrate: momentum must lie in 0..1, 1 excluded; received 2', { momentum: 2 })
  const weightsOnly = new Net()
  quantize(weightsOnly, { weights: 'int8' })
  await assert.rejects(
    calibrate(weightsOnly, () => {}),
    {
      message:
        'calibrate: the model must have quantized activations, or a quantizer that collects; quantize(model, { weights, activations }) first',
    },
  )
  assert.throws(() => quantize(new Net(), { weights: 'int8', activations: 'int4' }), {
    message: 'quantize: activations must be int8 or one of float8; received qint4',
  })
})

test('activations that were never calibrated are rounded to whole numbers, with one warning; strict refuses', async () => {
  const warn = mock.method(console, 'warn', () => {})
  const net = quantized()
  const y = net.forward(row(0.6, -1.2))
  net.forward(row(0.6, -1.2)).dispose()
  assert.equal(warn.mock.callCount(), 1)
  assert.equal(
    warn.mock.calls[0].arguments[0],
    'lowbit: activations were never calibrated and are rounded to whole numbers: a, b, c',
  )
  warn.mock.restore()
  // a: (1, -1) → (2, -2); + x = (2.6, -3.2) → b: (3, -3) → (6, -6) → relu (6, 0) → c: (12, 0); + x. int8
  // weights of 2 are 127 · 2/127.
  const [first, second] = await y.toNumbers()
  assert.ok(Math.abs(first - 12.6) < 1e-5 && Math.abs(second + 1.2) < 1e-5, `${first}, ${second}`)
  const strict = quantized({ strict: true })
  assert.throws(() => strict.forward(row(1, 1)), {
    name: 'DTypeError',
    message: 'forward: activations must be calibrated (strict); a has no scale yet',
  })
})

test('quantizing or freezing twice changes nothing', () => {
  const net = quantized()
  assert.throws(() => quantize(net, { weights: 'int8' }), { message: /all 3 are quantized already/ })
  freeze(net)
  const { weight } = net.a
  freeze(net)
  assert.equal(net.a.weight, weight)
})

test('observers see all batches at once', async () => {
  // Inputs of a: 1 … 100, in two batches; its outputs are twice that.
  const batches = [
    Array.from({ length: 60 }, (_, i) => i + 1),
    Array.from({ length: 40 }, (_, i) => -(i + 61)),
  ]
  const run = (net: Net) => () => {
    for (const batch of batches)
      scope(() => void net.a.forward(Tensor.fromNumbers(device, batch, [batch.length / 2, 2])))
  }
  const net = quantized()
  const [percentiles] = await calibrate(net, run(net), {
    observer: percentile({ percent: 90 }),
    streamline: false,
  })
  // Bins are 128 / 2048 wide: the ninetieth of 100 values lies in the one from 90 on.
  const close = (actual: number, expected: number, width: number) =>
    assert.ok(
      actual >= expected / 127 && actual <= (expected + width) / 127,
      `${actual * 127}, by hand ${expected}`,
    )
  close(percentiles.inputScale, 90, 1 / 16)
  // Twice the inputs rounded by 100 / 127.
  close(percentiles.outputScale, 180 - 100 / 127, 1 / 8 + 200 / 127)
  const scale = async () => {
    const layer: Module = net.a
    assert.ok(layer instanceof QLinear && layer.input_scale)
    return (await layer.input_scale.toNumbers())[0]
  }
  assert.equal(await scale(), Math.fround(percentiles.inputScale))
  const bytes = device.allocatedBytes
  const names = await calibrate(net, run(net), { observer: 'mse' })
  assert.equal(device.allocatedBytes, bytes, 'histograms and old scales are given back')
  // Values evenly spread: nothing is gained by cutting off more than half a step.
  assert.ok(names[0].inputScale * 127 > 99 && names[0].inputScale * 127 <= 100)
  await assert.rejects(calibrate(net, run(net), { observer: 'largest' as 'mse' }), {
    message:
      'calibrate: observer must be a function or one of absmax, percentile, mse, histogram; received largest',
  })
  const nan = row(1, NaN)
  await assert.rejects(
    calibrate(net, () => void net.a.forward(nan), { observer: 'percentile' }),
    { message: 'calibrate: activations must be finite; the input of a held NaN' },
  )
  assert.equal(await scale(), Math.fround(names[0].inputScale), 'as before')
})
