import { epsilon } from '../../src/kernels/inputs.ts'
import {
  avgPool2d,
  batchNorm,
  causalAttention,
  embedding,
  layerNorm,
  maxPool2d,
  rmsNorm,
} from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from './devices.ts'
import { compareValues, compareWithGolden, type GoldenOp, goldenOp, goldenValues } from './goldenGradients.ts'

/** Roundings of a normalization, in ε of the terms that are added. */
const c = 8

/**
 * Bounds of a normalization over groups of values (`at` gives their places), with a weight per value. Terms
 * are added as magnitudes: x̂·weight + bias; dx = weight·inverse·(dy − mean(dy) − x̂·mean(dy·x̂)); dweight =
 * Σ dy·x̂; dbias = Σ dy.
 */
function normBounds(
  op: GoldenOp,
  groups: number[][],
  channel: (i: number) => number,
  centered: boolean,
  normEpsilon: number,
) {
  const [x, w, dy] = ['in.x', 'in.w', 'grad_out'].map((key) => goldenValues(op, key))
  const bias = op.tensors.get('in.b')?.values
  const bounds = {
    out: new Float64Array(x.length),
    x: new Float64Array(x.length),
    w: new Float64Array(w.length),
    b: new Float64Array(w.length),
  }
  for (const at of groups) {
    const mean = centered ? at.reduce((sum, i) => sum + x[i], 0) / at.length : 0
    const inverse =
      1 / Math.sqrt(at.reduce((sum, i) => sum + (x[i] - mean) ** 2, 0) / at.length + normEpsilon)
    // The rounding of the mean counts, whatever is left of x − mean.
    const normal = (i: number) => (Math.abs(x[i] - mean) + Math.abs(mean)) * inverse
    const g = (i: number) => Math.abs(dy[i] * w[channel(i)])
    const meanG = at.reduce((sum, i) => sum + g(i), 0) / at.length
    const meanGx = at.reduce((sum, i) => sum + g(i) * normal(i), 0) / at.length
    for (const i of at) {
      bounds.out[i] = c * epsilon * (normal(i) * Math.abs(w[channel(i)]) + Math.abs(bias?.[channel(i)] ?? 0))
      bounds.x[i] = c * epsilon * inverse * (g(i) + meanG + normal(i) * meanGx)
      bounds.w[channel(i)] += c * epsilon * Math.abs(dy[i]) * normal(i)
      bounds.b[channel(i)] += c * epsilon * Math.abs(dy[i])
    }
  }
  return (key: string) => bounds[key.replace('grad.', '') as keyof typeof bounds]
}

const rowsOf = (count: number, cols: number) =>
  Array.from({ length: count / cols }, (_, r) => Array.from({ length: cols }, (_, i) => r * cols + i))

testOnDevices('layer and RMS normalization: PyTorch', async (device) => {
  const layer = await goldenOp('layer_norm')
  await compareWithGolden(
    device,
    layer,
    ({ x, w, b }) => layerNorm(x, w, b, 1e-5),
    normBounds(layer, rowsOf(144, 12), (i) => i % 12, true, 1e-5),
  )
  const rms = await goldenOp('rms_norm')
  await compareWithGolden(
    device,
    rms,
    ({ x, w }) => rmsNorm(x, w, 1e-6),
    normBounds(rms, rowsOf(144, 12), (i) => i % 12, false, 1e-6),
  )
})

testOnDevices('batch normalization with its running statistics: PyTorch', async (device) => {
  const op = await goldenOp('batch_norm2d_train')
  const [N, C, inner] = [4, 5, 9]
  const channel = (i: number) => Math.floor(i / inner) % C
  const groups = Array.from({ length: C }, (_, one) =>
    Array.from({ length: N * C * inner }, (_, i) => i).filter((i) => channel(i) === one),
  )
  const running = {
    mean: Tensor.fromNumbers(device, new Float32Array(C)),
    variance: Tensor.fromNumbers(device, new Float32Array(C).fill(1)),
    batches: Tensor.fromNumbers(device, [0], [], 'int64'),
  }
  await compareWithGolden(
    device,
    op,
    ({ x, w, b }) => batchNorm(x, w, b, { running }),
    normBounds(op, groups, channel, true, 1e-5),
  )
  const x = goldenValues(op, 'in.x')
  const largest = x.reduce((size, value) => Math.max(size, Math.abs(value)), 0)
  compareValues(
    'running mean',
    await running.mean.toNumbers(),
    goldenValues(op, 'extra.running_mean'),
    0.1 * c * epsilon * largest,
  )
  compareValues(
    'running variance',
    await running.variance.toNumbers(),
    goldenValues(op, 'extra.running_var'),
    c * epsilon * (1 + 0.1 * largest ** 2),
  )
  compareValues('batches', await running.batches.toNumbers(), [1], 0)
  for (const tensor of Object.values(running)) tensor.dispose()
})

testOnDevices('embedding: PyTorch', async (device) => {
  const op = await goldenOp('embedding')
  // Each row of the table adds up at most 6 gradients.
  const size = goldenValues(op, 'grad_out').reduce((sum, value) => Math.max(sum, Math.abs(value)), 0)
  await compareWithGolden(
    device,
    op,
    ({ w, idx }) => embedding(w, idx),
    (key) => (key === 'out' ? 0 : 3 * 6 * epsilon * size),
  )
})

testOnDevices('pooling: PyTorch', async (device) => {
  const pools = {
    max_pool2d: (x: Tensor) => maxPool2d(x, 3, { stride: 2, padding: 1 }),
    avg_pool2d: (x: Tensor) => avgPool2d(x, 2),
    avg_pool2d_pad: (x: Tensor) => avgPool2d(x, 3, { stride: 2, padding: 1 }),
  }
  for (const [name, pool] of Object.entries(pools)) {
    const op = await goldenOp(name)
    const [x, dy] = ['in.x', 'grad_out'].map((key) =>
      goldenValues(op, key).reduce((size, value) => Math.max(size, Math.abs(value)), 0),
    )
    // A mean of at most 9 values, a sum over at most 4 windows; a maximum is exact.
    const bound = (key: string) =>
      key === 'out' ? (name === 'max_pool2d' ? 0 : 5 * epsilon * x) : 4 * epsilon * dy
    await compareWithGolden(device, op, (inputs) => pool(inputs.x), bound)
  }
})

testOnDevices('causal attention, with heads that share keys: PyTorch', async (device) => {
  for (const name of ['sdpa_causal', 'sdpa_gqa']) {
    const op = await goldenOp(name)
    const D = op.tensors.get('in.q')?.shape[3] ?? 0
    const group = (op.tensors.get('in.q')?.shape[1] ?? 0) / (op.tensors.get('in.k')?.shape[1] ?? 1)
    const tokens = op.tensors.get('in.q')?.shape[2] ?? 0
    const norms = (key: string) => {
      const values = goldenValues(op, key)
      return Math.max(...rowsOf(values.length, D).map((row) => Math.hypot(...row.map((i) => values[i]))))
    }
    const [q, k, v, dy] = ['in.q', 'in.k', 'in.v', 'grad_out'].map(norms)
    const scale = 1 / Math.sqrt(D)
    // A probability errs relatively by a few ε·(1 + |score|); every gradient is a sum of such terms times
    // norms of the other factors.
    const relative = 4 * epsilon * (1 + scale * q * k)
    const bounds: Record<string, number> = {
      out: relative * v,
      'grad.v': relative * dy * tokens * group,
      'grad.q': relative * scale * dy * 2 * v * k,
      'grad.k': relative * scale * dy * 2 * v * q * tokens * group,
    }
    await compareWithGolden(
      device,
      op,
      (inputs) => causalAttention(inputs.q, inputs.k, inputs.v),
      (key) => bounds[key],
    )
  }
})
