import assert from 'node:assert/strict'
import type { Device } from '../../src/devices/device.ts'
import { epsilon } from '../../src/kernels/inputs.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { MultiheadAttention } from '../../src/nn/multiheadAttention.ts'
import { backward } from '../../src/tensor/backward.ts'
import { attention, rope, scaledDotProductAttention, sum, transpose } from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from './devices.ts'
import { compareWithGolden, type GoldenOp, goldenOp, goldenTensor, goldenValues } from './goldenGradients.ts'

const largest = (values: Float64Array) => values.reduce((most, one) => Math.max(most, Math.abs(one)), 0)

/** An extra tensor of a golden: bool where the operation took one. */
function mask(device: Device, op: GoldenOp, key: string, bool: boolean): Tensor {
  const { shape } = op.tensors.get(`extra.${key}`) ?? assert.fail(`no ${key}`)
  if (!bool) return goldenTensor(device, op, `extra.${key}`)
  return Tensor.fromNumbers(device, goldenValues(op, `extra.${key}`), shape, 'bool')
}

/**
 * A probability errs relatively by a few ε·(1 + |score|); every gradient is a sum of such terms times norms
 * of the other factors, of at most `queries` of them.
 */
function bounds(op: GoldenOp, added = 0): (key: string) => number {
  const shape = op.tensors.get('in.q')?.shape ?? []
  const [, H, T, D] = shape
  const queries = (T * H) / (op.tensors.get('in.k')?.shape[1] ?? 1)
  const norms = (key: string) => {
    const values = goldenValues(op, key)
    const rows = Array.from({ length: values.length / D }, (_, r) => values.subarray(r * D, (r + 1) * D))
    return Math.max(...rows.map((row) => Math.hypot(...row)))
  }
  const [q, k, v, dy] = ['in.q', 'in.k', 'in.v', 'grad_out'].map(norms)
  const scale = 1 / Math.sqrt(D)
  const relative = 4 * epsilon * (1 + scale * q * k + added)
  const table: Record<string, number> = {
    out: relative * v,
    'grad.v': relative * dy * queries,
    'grad.q': relative * scale * dy * 2 * v * k,
    'grad.k': relative * scale * dy * 2 * v * q * queries,
  }
  return (key) => table[key]
}

testOnDevices('attention under masks of booleans and of floats: PyTorch', async (device) => {
  for (const [name, bool] of [
    ['bool_mask', true],
    ['float_mask', false],
    ['shared_heads', true],
  ] as const) {
    const op = await goldenOp(name, 'attention')
    const attnMask = mask(device, op, 'mask', bool)
    const added = bool ? 0 : largest(goldenValues(op, 'extra.mask'))
    await compareWithGolden(
      device,
      op,
      ({ q, k, v }) => scaledDotProductAttention(q, k, v, { attnMask }),
      bounds(op, added),
    )
    attnMask.dispose()
  }
  assert.equal(device.allocatedBytes, 0)
})

testOnDevices('attention in a window, over padded sequences, with capped scores: PyTorch', async (device) => {
  const ranges = Tensor.fromNumbers(device, [3, 9, 0, 5], [2, 2], 'int32')
  for (const [name, options] of [
    ['window', { window: 4 }],
    ['padded', { ranges }],
    ['softcap', { softcap: 1.5 }],
  ] as const) {
    const op = await goldenOp(name, 'attention')
    await compareWithGolden(
      device,
      op,
      ({ q, k, v }) => transpose(attention(transpose(q, 1, 2), k, v, options), 1, 2),
      bounds(op),
    )
  }
  ranges.dispose()
  assert.equal(device.allocatedBytes, 0)
})

/**
 * Bounds by the largest magnitudes on the way: P of a projected value, Q of the gradient that reaches one, of
 * the scores' relative error R = 8ε·(1 + D·P²/√D).
 */
function headBounds(op: GoldenOp): (key: string) => number {
  const [E, D, T, N] = [8, 4, 5, 10]
  const [x, w, b, wo] = ['x', 'weight', 'bias', 'out_weight'].map((key) =>
    largest(goldenValues(op, `in.${key}`)),
  )
  const dy = largest(goldenValues(op, 'grad_out'))
  const P = E * x * w + b
  const R = 8 * epsilon * (1 + Math.sqrt(D) * P * P)
  const G = E * dy * wo
  const Q = T * G * Math.max(1, 2 * Math.sqrt(D) * P * P)
  const table: Record<string, number> = {
    out: R * (E * P * wo + largest(goldenValues(op, 'in.out_bias'))),
    'grad.out_bias': 8 * epsilon * N * dy,
    'grad.out_weight': R * N * dy * P,
    'grad.bias': R * N * Q,
    'grad.weight': R * N * Q * x,
    'grad.x': R * 3 * E * Q * w,
  }
  return (key) => table[key]
}

testOnDevices('multi-head attention with masks of queries and of padding: PyTorch', async (device) => {
  for (const [name, bool] of [
    ['heads_bool', true],
    ['heads_float', false],
  ] as const) {
    const op = await goldenOp(name, 'attention')
    const layer = initialize(new MultiheadAttention(8, 2, { batchFirst: true }), device)
    const own = [layer.in_proj_weight, layer.in_proj_bias, layer.out_proj.weight, layer.out_proj.bias]
    const attnMask = mask(device, op, 'mask', bool)
    const keyPaddingMask = bool ? mask(device, op, 'padding', true) : undefined
    await compareWithGolden(
      device,
      op,
      ({ x, weight, bias, out_weight, out_bias }) => {
        Object.assign(layer, { in_proj_weight: weight, in_proj_bias: bias })
        Object.assign(layer.out_proj, { weight: out_weight, bias: out_bias })
        return layer.forward(x, x, x, { attnMask, keyPaddingMask })
      },
      headBounds(op),
    )
    for (const tensor of [...own, attnMask, keyPaddingMask]) tensor?.dispose()
  }
  assert.equal(device.allocatedBytes, 0)
})

testOnDevices(
  'rotary positions of neighbouring pairs and of a part of a head: GPT-J, GPT-NeoX',
  async (device) => {
    for (const [name, interleaved, rotaryDim] of [
      ['rope_neighbours', true, 8],
      ['rope_neighbours_part', true, 4],
      ['rope_halves_part', false, 4],
    ] as const) {
      const op = await goldenOp(name, 'attention')
      const angles = Array.from({ length: 8 * (rotaryDim / 2) }, (_, i) => {
        const [position, pair] = [Math.floor(i / (rotaryDim / 2)), i % (rotaryDim / 2)]
        return position * 10000 ** ((-2 * pair) / rotaryDim)
      })
      const [cos, sin] = [Math.cos, Math.sin].map((f) =>
        Tensor.fromNumbers(device, angles.map(f), [8, rotaryDim / 2]),
      )
      // Two products, and angles of up to 7 that PyTorch rounds.
      const bound = (key: string) =>
        (4 + 7) * epsilon * 2 * largest(goldenValues(op, key === 'out' ? 'in.x' : 'grad_out'))
      await compareWithGolden(device, op, ({ x }) => rope(x, cos, sin, 3, { interleaved, rotaryDim }), bound)
      for (const tensor of [cos, sin]) tensor.dispose()
    }
    assert.equal(device.allocatedBytes, 0)
  },
)

testOnDevices('sinks and places of their own, by hand', async (device) => {
  const floats = (values: number[], shape: number[]) => Tensor.fromNumbers(device, values, shape)
  // Scores of 0 weigh 1 each beside sinks of weights 2 and 6: (1 + 2) / 4, (1 + 2) / 8.
  const [q, k] = [floats([0, 0], [1, 1, 2, 1]), floats([5, 7], [1, 1, 2, 1])]
  const [v, sinks] = [floats([1, 2], [1, 1, 2, 1]), floats([Math.log(2), Math.log(6)], [2])]
  const y = attention(q, k, v, { mask: 'full', sinks })
  for (const [i, value] of [3 / 4, 3 / 8].entries())
    assert.ok(Math.abs((await y.toNumbers())[i] - value) < 8 * epsilon)
  // Sequences of two keys, of one, and one that is left out: means of the values seen.
  const places = Tensor.fromArray(device, Int32Array.of(1, 0, -1), [3])
  const [many, values] = [floats([0, 0, 0], [3, 1, 1, 1]), floats([1, 2, 3, 4, 5, 6], [3, 1, 2, 1])]
  const means = attention(many, values, values, { position: places })
  assert.deepEqual([...(await means.toNumbers())], [1.5, 3, 0])
  for (const tensor of [q, k, v, sinks, y, places, many, values, means]) tensor.dispose()
  assert.equal(device.allocatedBytes, 0)
})

testOnDevices('attention refuses masks that do not fit, and gradients that it has not', (device) => {
  const [q, k] = [Tensor.full(device, [1, 3, 2, 4], 1), Tensor.full(device, [1, 1, 5, 4], 1)]
  const bias = Tensor.full(device, [2, 3, 4], 0)
  assert.throws(() => attention(q, k, k, { bias }), {
    message: 'attention: bias must repeat to [1,2,3,5]; received [2,3,4]',
  })
  assert.throws(() => attention(q, k, k, { mask: 'full', window: 2 }), {
    message: 'attention: a window must have the mask causal; received full and 2',
  })
  assert.throws(() => attention(q, k, k, { ranges: bias }), {
    message: 'attention: ranges must be int32; received float32',
  })
  assert.throws(() => attention(q, k, k, { position: 3 }), {
    message: 'attention: positions must stay below 5; received 3..5',
  })
  assert.throws(() => attention(q, k, k, { sinks: bias }), {
    message: 'attention: sinks must be [2]; received [2,3,4]',
  })
  assert.throws(() => attention(q, k, k, { position: bias }), {
    message: 'attention: position must be int32; received float32',
  })
  const learnt = Tensor.full(device, [3, 5], 0)
  learnt.requiresGrad = true
  assert.throws(() => backward(() => ({ loss: sum(attention(q, k, k, { bias: learnt })) })), {
    message: 'attention: a bias must need no gradient; received one that does',
  })
})
