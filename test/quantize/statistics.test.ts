import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Device } from '../../src/devices/device.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { Linear } from '../../src/nn/linear.ts'
import { QLinear } from '../../src/nn/qlinear.ts'
import { Sequential } from '../../src/nn/sequential.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import type { Quantizer } from '../../src/qtensor/quantizer.ts'
import { chooseScales, roundRows } from '../../src/qtensor/rows.ts'
import { calibrate } from '../../src/quantize/calibrate.ts'
import { dequantize } from '../../src/quantize/dequantize.ts'
import { groupQuantizer } from '../../src/quantize/groupQuantizer.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { columnSum } from '../../src/tensor/ops/columnSum.ts'
import { add, clamp, expand, mul, neg, reduce, stack, sub } from '../../src/tensor/ops/index.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { inputs, stories } from '../models/golden.ts'
import { testOnDevices } from '../tensor/devices.ts'

/** How far a range is narrowed around its middle. */
const factors = [1, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7]

/**
 * The range of each group whose error is smallest, an error of a column counting as much as its mean square
 * of inputs: what ggml does with an importance matrix.
 */
const weighted: Quantizer = {
  name: 'weighted',
  collects(x, statistics) {
    const squares = columnSum(mul(x, x), 1)
    const before = statistics.get('squares')
    statistics.set('squares', before ? add(before, squares) : squares)
  },
  solve(weight, spec, statistics) {
    const squares = statistics?.get('squares')
    assert.ok(squares, 'the layer has statistics')
    const [N, K] = weight.shape
    return groupQuantizer('weighted', (groups, type) => {
      const [rows, G] = groups.shape
      const importance = expand(squares.view([1, K / G, G]), [N, K / G, G]).view([rows, G])
      const { scale, shift } = chooseScales(groups, 'range', { ...type, offset: 'shift' })
      assert.ok(shift)
      const candidates = factors.map((factor) => ({
        scale: mul(scale, factor),
        shift: sub(shift, mul(scale, ((1 - factor) * type.qmax) / 2)),
      }))
      const errors = candidates.map((candidate) => {
        const error = sub(groups, roundRows(groups, candidate, type))
        return reduce('sum', mul(mul(error, error), importance))
      })
      const least = neg(reduce('max', neg(stack(errors, 1))))
      const chosen = (name: 'scale' | 'shift') =>
        candidates.reduce(
          (before, candidate, i) => {
            // 0 where this candidate is the best, else 1.
            const worse = clamp(mul(sub(errors[i], least), 1e38), 0, 1)
            return add(mul(before, worse), mul(candidate[name], add(neg(worse), 1)))
          },
          Tensor.full(weight.device, [rows], 0),
        )
      return { scale: chosen('scale'), shift: chosen('shift') }
    }).solve(weight, spec)
  },
}

testOnDevices('what a layer multiplies is collected, by hand', async (device) => {
  const seen: number[][] = []
  const noting: Quantizer = {
    ...weighted,
    solve(weight, spec, statistics) {
      const squares = statistics?.get('squares')
      assert.ok(squares)
      noted.push(squares.toNumbers().then((values) => seen.push([...values])))
      return groupQuantizer('noting', (groups, type) =>
        chooseScales(groups, 'range', { ...type, offset: 'shift' }),
      ).solve(weight, spec)
    },
  }
  const noted: Promise<unknown>[] = []
  const layer = new Linear(2, 1, { bias: false })
  layer.weight = Tensor.fromNumbers(device, [1, -0.3], [1, 2])
  const model = new Sequential(layer)
  quantize(model, { weights: 'int4', algorithm: noting })
  const float = Tensor.fromNumbers(device, [1, 2, 3, 4], [2, 2])
  assert.throws(() => freeze(model), /noting|weighted/, 'nothing is known of its inputs yet')
  // Until then the layer computes with its own weight: 1 · 1 − 0.3 · 2, 1 · 3 − 0.3 · 4.
  const [a, b] = await scope(() => model.forward(float)).toNumbers()
  assert.ok(Math.abs(a - 0.4) < 1e-6 && Math.abs(b - 1.8) < 1e-6)
  await calibrate(model, () => {
    scope(() => model.forward(float))
    scope(() => model.forward(Tensor.fromNumbers(device, [0, -5], [1, 2])))
  })
  freeze(model)
  await Promise.all(noted)
  // 1² + 3² + 0², 2² + 4² + 5²
  assert.deepEqual(seen, [[10, 45]])
  const [twin] = [...model.namedModules()].map(([, module]) => module).filter((m) => m instanceof QLinear)
  assert.ok(twin.weight instanceof QTensor)
  assert.equal(twin.statistics, null, 'a frozen layer keeps none')
})

test('a calibration that fails leaves no statistics', async () => {
  const model = await loadCausalLM(stories)
  quantize(model, { weights: 'int4', algorithm: weighted, exclude: 'lm_head' })
  await assert.rejects(
    calibrate(model, () => {
      scope(() => model.forward(Tensor.fromNumbers(model.device, [1, 2, 3], [1, 3], 'int32')))
      throw new Error('no more')
    }),
  )
  assert.throws(() => freeze(model), /the quantizer weighted must have seen inputs/)
  await assert.rejects(
    calibrate(model, () => {}),
    /run must pass at least one batch/,
  )
  model.dispose()
})

/** A model of one layer whose quantizer collects. */
function collecting(device: Device): Sequential {
  const layer = new Linear(2, 1, { bias: false })
  layer.weight = Tensor.fromNumbers(device, [1, -0.3], [1, 2])
  const model = new Sequential(layer)
  quantize(model, { weights: 'int4', activations: 'int8', algorithm: weighted })
  return model
}

/** One batch through it. */
function pass(model: Sequential, device: Device): () => void {
  return () => scope(() => void model.forward(Tensor.fromNumbers(device, [1, 2, 3, 4], [2, 2])))
}

async function calibrated(device: Device): Promise<Sequential> {
  const model = collecting(device)
  await calibrate(model, pass(model, device))
  return model
}

testOnDevices('a clone has statistics of its own, and what is disposed keeps none', async (device) => {
  const before = device.allocatedBytes
  const model = await calibrated(device)
  const clone = model.clone()
  freeze(model)
  freeze(clone)
  const [ours, theirs] = [model, clone].map((one) => one.getParameter('0.weight').dequantize())
  assert.deepEqual(await theirs.read(), await ours.read())
  for (const one of [model, clone, ours, theirs]) one.dispose()
  const unfrozen = await calibrated(device)
  unfrozen.clone().dispose()
  unfrozen.dispose()
  const float = await calibrated(device)
  dequantize(float)
  float.dispose()
  assert.equal(device.allocatedBytes, before)
})

testOnDevices('a debug function that throws leaves no statistics', async (device) => {
  const model = collecting(device)
  const before = device.allocatedBytes
  const debug = () => {
    throw new Error('no more')
  }
  await assert.rejects(calibrate(model, pass(model, device), { debug }), { message: 'no more' })
  assert.throws(() => freeze(model), /the quantizer weighted must have seen inputs/)
  assert.equal(device.allocatedBytes, before)
})

/** The mean squared error of the logits of tokens that no calibration saw. */
async function logitError(device: Device, algorithm: 'max' | Quantizer): Promise<number> {
  const ids = (start: number, end: number) =>
    Tensor.fromNumbers(device, inputs.ppl_ids.slice(start, end), [1, end - start], 'int32')
  const [float, model] = [await loadCausalLM(stories, { device }), await loadCausalLM(stories, { device })]
  quantize(model, { weights: 'int4', exclude: 'lm_head', algorithm })
  if (algorithm !== 'max')
    await calibrate(model, () => {
      for (let start = 0; start < 1024; start += 256) scope(() => model.forward(ids(start, start + 256)))
    })
  freeze(model)
  const held = ids(1024, 1280)
  const error = scope(() => {
    const difference = sub(float.forward(held), model.forward(held))
    return reduce('mean', mul(difference, difference).view([difference.numel]))
  })
  const [value] = await error.toNumbers()
  float.dispose()
  model.dispose()
  return value
}

testOnDevices('importance lowers the error of a trained model', async (device) => {
  const [plain, better] = [await logitError(device, 'max'), await logitError(device, weighted)]
  assert.ok(better < 0.9 * plain, `mean squared error of the logits ${better}, with max ${plain}`)
})
