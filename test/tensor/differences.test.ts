import assert from 'node:assert/strict'
import { klDivLoss, l1Loss } from '../../src/nn/losses.ts'
import {
  abs,
  adaptiveAvgPool2d,
  adaptiveMaxPool2d,
  add,
  avgPool2d,
  channelAffine,
  clamp,
  concat,
  div,
  exp,
  expand,
  flatten,
  groupNorm,
  leakyRelu,
  log,
  logSoftmax,
  maskedFill,
  mean,
  mul,
  neg,
  permute,
  pool1d,
  rope,
  siluMul,
  slice,
  split,
  sqrt,
  stack,
  sub,
  sum,
  transpose,
  where,
} from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from './devices.ts'
import { compareWithDifferences, type Reference } from './differences.ts'

const map =
  (f: (x: number) => number): Reference =>
  (x) =>
    x.map(f)
const zip =
  (f: (a: number, b: number) => number): Reference =>
  (a, b) =>
    a.map((one, i) => f(one, b[i]))

testOnDevices('value by value', async (device) => {
  const check = (
    name: string,
    run: Parameters<typeof compareWithDifferences>[3],
    reference: Reference,
    shift = 0,
  ) => compareWithDifferences(device, name, [[3, 7]], run, reference, { shift })
  await check(
    'neg',
    neg,
    map((x) => -x),
  )
  await check('abs', abs, map(Math.abs))
  await check('exp', exp, map(Math.exp))
  await check('log', log, map(Math.log), 6)
  await check('sqrt', sqrt, map(Math.sqrt), 6)
  await check(
    'leakyRelu',
    (x) => leakyRelu(x),
    map((x) => (x > 0 ? x : Math.fround(0.01) * x)),
  )
  await check(
    'mul by a number',
    (x) => mul(x, 0.5),
    map((x) => 0.5 * x),
  )
  await check(
    'add a number',
    (x) => add(x, 0.5),
    map((x) => x + 0.5),
  )
  await check(
    'clamp',
    (x) => clamp(x, -0.5, 0.75),
    map((x) => Math.max(-0.5, Math.min(0.75, x))),
  )
  const silu = (x: number) => x / (1 + Math.exp(-x))
  await compareWithDifferences(
    device,
    'siluMul',
    [
      [3, 7],
      [3, 7],
    ],
    siluMul,
    zip((a, b) => silu(a) * b),
  )
})

testOnDevices('two operands: equal, a row, sizes of 1, one value', async (device) => {
  const operations = { add, sub, mul, div }
  const plain = {
    add: (a: number, b: number) => a + b,
    sub: (a: number, b: number) => a - b,
    mul: (a: number, b: number) => a * b,
    div: (a: number, b: number) => a / b,
  }
  // Shapes of a and b, and where in a and b the operands of output i lie.
  const pairs: [number[], number[], (i: number) => number, (i: number) => number][] = [
    [[2, 3, 4], [2, 3, 4], (i) => i, (i) => i],
    [[2, 3, 4], [4], (i) => i, (i) => i % 4],
    [[2, 3, 4], [3, 1], (i) => i, (i) => Math.floor(i / 4) % 3],
    [[2, 3, 4], [], (i) => i, () => 0],
    [[3, 1], [2, 1, 4], (i) => Math.floor(i / 4) % 3, (i) => Math.floor(i / 12) * 4 + (i % 4)],
  ]
  for (const [name, run] of Object.entries(operations)) {
    const f = plain[name as keyof typeof plain]
    for (const [a, b, atA, atB] of pairs) {
      await compareWithDifferences(
        device,
        `${name} [${a}] [${b}]`,
        [a, b],
        run,
        (x, z) => Float64Array.from({ length: 24 }, (_, i) => f(x[atA(i)], z[atB(i)])),
        { shift: 4 },
      )
    }
  }
})

testOnDevices('values moved, repeated, cut and joined', async (device) => {
  const pick =
    (...at: number[]): Reference =>
    (x) =>
      at.map((i) => x[i])
  const range = (count: number, f: (i: number) => number) => Array.from({ length: count }, (_, i) => f(i))
  const check = (name: string, shape: number[], run: (x: Tensor) => Tensor, ...at: number[]) =>
    compareWithDifferences(device, name, [shape], run, pick(...at))
  await check('transpose', [2, 3], (x) => transpose(x, 0, 1), 0, 3, 1, 4, 2, 5)
  await check(
    'permute',
    [2, 2, 3],
    (x) => permute(x, [2, 0, 1]),
    ...range(12, (i) => (i % 4) * 3 + Math.floor(i / 4)),
  )
  await check('slice', [3, 4], (x) => slice(x, 1, 1, -1), 1, 2, 5, 6, 9, 10)
  await check('rows', [3, 2], (x) => x.rows(1, 3), 2, 3, 4, 5)
  await check('flatten', [2, 3, 2], (x) => flatten(x, 1), ...range(12, (i) => i))
  await check('expand', [2, 1], (x) => expand(x, [3, 2, 2]), ...range(12, (i) => Math.floor(i / 2) % 2))
  await check(
    'split',
    [2, 5],
    (x) => {
      const [a, b, c] = split(x, 2, 1)
      return concat([c, a, b], 1)
    },
    4,
    0,
    1,
    2,
    3,
    9,
    5,
    6,
    7,
    8,
  )
  await compareWithDifferences(
    device,
    'concat',
    [
      [1, 2],
      [2, 2],
    ],
    (a, b) => concat([a, b]),
    (a, b) => [...a, ...b],
  )
  await compareWithDifferences(
    device,
    'stack',
    [[2], [2]],
    (a, b) => stack([a, b], 1),
    (a, b) => [a[0], b[0], a[1], b[1]],
  )
  const mask = Tensor.fromArray(device, Uint8Array.of(1, 0, 0, 2), [4], 'bool')
  await compareWithDifferences(
    device,
    'where',
    [[4], [4]],
    (a, b) => where(mask, a, b),
    (a, b) => [a[0], b[1], b[2], a[3]],
  )
  await compareWithDifferences(
    device,
    'maskedFill',
    [[4]],
    (a) => maskedFill(a, mask, -1),
    (a) => [-1, a[1], a[2], -1],
  )
  mask.dispose()
})

testOnDevices('sums, means and normalizations over other axes', async (device) => {
  const at = (b: number, r: number, k: number) => (b * 3 + r) * 4 + k
  const total = (x: Float64Array, indices: number[]) => indices.reduce((sum, i) => sum + x[i], 0)
  const [two, three, four] = [2, 3, 4].map((count) => Array.from({ length: count }, (_, i) => i))
  const overMiddle: Reference = (x) =>
    two.flatMap((b) =>
      four.map((k) =>
        total(
          x,
          three.map((r) => at(b, r, k)),
        ),
      ),
    )
  await compareWithDifferences(device, 'sum', [[2, 3, 4]], (x) => sum(x, [1]), overMiddle)
  await compareWithDifferences(
    device,
    'mean of the first and last',
    [[2, 3, 4]],
    (x) => mean(x, [0, 2]),
    (x) =>
      three.map(
        (r) =>
          total(
            x,
            two.flatMap((b) => four.map((k) => at(b, r, k))),
          ) / 8,
      ),
  )
  await compareWithDifferences(
    device,
    'mean',
    [[2, 3, 4]],
    (x) => mean(x),
    (x) => [total(x, [...x.keys()]) / 24],
  )
  await compareWithDifferences(
    device,
    'channelAffine',
    [[2, 3, 4], [3], [3]],
    channelAffine,
    (x, scale, shift) =>
      x.map((value, i) => value * scale[Math.floor(i / 4) % 3] + shift[Math.floor(i / 4) % 3]),
  )
  await compareWithDifferences(
    device,
    'groupNorm',
    [[2, 4, 3], [4], [4]],
    (x, w, b) => groupNorm(x, 2, w, b),
    (x, w, b) =>
      x.map((value, i) => {
        const group = x.subarray(Math.floor(i / 6) * 6, Math.floor(i / 6) * 6 + 6)
        const middle = total(group, [...group.keys()]) / 6
        const variance = group.reduce((sum, one) => sum + (one - middle) ** 2, 0) / 6
        const c = Math.floor(i / 3) % 4
        return ((value - middle) / Math.sqrt(variance + Math.fround(1e-5))) * w[c] + b[c]
      }),
  )
})

testOnDevices('pools whose windows overlap or are the whole line', async (device) => {
  const means: Reference = (x) =>
    [0, 1].flatMap((r) => [
      (x[5 * r] + x[5 * r + 1] + x[5 * r + 2]) / 3,
      (x[5 * r + 2] + x[5 * r + 3] + x[5 * r + 4]) / 3,
    ])
  await compareWithDifferences(
    device,
    'adaptive mean',
    [[1, 2, 5]],
    (x) => adaptiveAvgPool2d(x, [2, 2]),
    means,
  )
  await compareWithDifferences(
    device,
    'adaptive maximum',
    [[1, 2, 5]],
    (x) => adaptiveMaxPool2d(x, [2, 1]),
    (x) => [Math.max(...x.subarray(0, 5)), Math.max(...x.subarray(5))],
  )
  await compareWithDifferences(
    device,
    'one dimension',
    [[1, 2, 4]],
    (x) => pool1d(x, (image) => avgPool2d(image, [1, 2])),
    (x) => [0, 2, 4, 6].map((i) => (x[i] + x[i + 1]) / 2),
  )
})

testOnDevices('rotary positions, divergence, absolute error', async (device) => {
  const [cos, sin] = [Math.cos, Math.sin].map((f) =>
    Tensor.fromNumbers(device, [0, 0, 1, 0.1, 2, 0.2].map(f), [3, 2]),
  )
  const [c, s] = await Promise.all([cos.toNumbers(), sin.toNumbers()])
  // Two tokens from position 1 on, one head of four values.
  await compareWithDifferences(
    device,
    'rope',
    [[1, 2, 1, 4]],
    (x) => rope(x, cos, sin, 1),
    (x) =>
      x.map((value, i) => {
        const [token, d] = [Math.floor(i / 4), i % 4]
        const at = (token + 1) * 2 + (d % 2)
        return d < 2 ? value * c[at] - x[i + 2] * s[at] : value * c[at] + x[i - 2] * s[at]
      }),
  )
  await compareWithDifferences(
    device,
    'l1Loss',
    [
      [2, 3],
      [2, 3],
    ],
    (x, y) => l1Loss(x, y),
    (x, y) => [x.reduce((sum, one, i) => sum + Math.abs(one - y[i]), 0) / 6],
  )
  const normalized = (x: Float64Array) => {
    const sums = [0, 1].map((r) => [0, 1, 2].reduce((sum, k) => sum + Math.exp(x[3 * r + k]), 0))
    return x.map((one, i) => one - Math.log(sums[Math.floor(i / 3)]))
  }
  await compareWithDifferences(
    device,
    'klDivLoss',
    [
      [2, 3],
      [2, 3],
    ],
    (x, y) => klDivLoss(logSoftmax(x), logSoftmax(y), { logTarget: true, reduction: 'batchmean' }),
    (x, y) => {
      const [q, p] = [normalized(x), normalized(y)]
      return [p.reduce((sum, one, i) => sum + Math.exp(one) * (one - q[i]), 0) / 2]
    },
  )
  for (const tensor of [cos, sin]) tensor.dispose()
  assert.equal(device.allocatedBytes, 0)
})
