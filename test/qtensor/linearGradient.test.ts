import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import type { DType } from '../../src/core/dtype.ts'
import { nf4, type QType, qfloat8_e5m2, qint2, qint4, qint5, qint8 } from '../../src/core/qtype.ts'
import { Random } from '../../src/core/random.ts'
import type { Device } from '../../src/devices/device.ts'
import { openDevice } from '../../src/devices/open.ts'
import { dotTolerance, normals } from '../../src/kernels/inputs.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { SGD } from '../../src/nn/optim/sgd.ts'
import { Sequential } from '../../src/nn/sequential.ts'
import { linear } from '../../src/qtensor/linear.ts'
import type { Block, WeightParts } from '../../src/qtensor/parts.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { backward } from '../../src/tensor/backward.ts'
import { add, mean, mul, sum } from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'

const [M, N, K] = [7, 70, 192]

interface Kind {
  type: QType
  block: Block
  scaleDtype?: DType
  offset?: 'shift' | 'zeroPoint'
  ordered?: boolean
}

const kinds: Record<string, Kind> = {
  'int4 in groups, bfloat16 scales and shifts': {
    type: qint4,
    block: { kind: 'group', size: 32 },
    scaleDtype: 'bfloat16',
    offset: 'shift',
  },
  'int4 with zero points, columns in another order': {
    type: qint4,
    block: { kind: 'group', size: 64 },
    offset: 'zeroPoint',
    ordered: true,
  },
  'int2 in rows': { type: qint2, block: { kind: 'group', size: K }, offset: 'shift' },
  'int5 in groups': { type: qint5, block: { kind: 'group', size: 96 }, offset: 'shift' },
  'int8 in rows': { type: qint8, block: { kind: 'group', size: K } },
  'int8 in tiles': { type: qint8, block: { kind: 'tile', rows: 32, columns: 64 } },
  'float8 in rows': { type: qfloat8_e5m2, block: { kind: 'group', size: K } },
  'nf4 in groups': { type: nf4, block: { kind: 'group', size: 64 } },
  // Without a kernel.
  'int4 in runs across rows': { type: qint4, block: { kind: 'run', size: 80 }, offset: 'shift' },
}

/** How many blocks there are, by their shape. */
function blocksOf(block: Block): number[] {
  if (block.kind === 'group') return [N, Math.ceil(K / block.size)]
  if (block.kind === 'run') return [Math.ceil((N * K) / block.size)]
  if (block.kind === 'comb') return [(N * K) / block.teeth]
  return [Math.ceil(N / block.rows), Math.ceil(K / block.columns)]
}

function partsOf(device: Device, random: Random, kind: Kind): WeightParts {
  const { type, block, scaleDtype = 'float32', offset, ordered } = kind
  const shape = blocksOf(block)
  const count = shape.reduce((a, b) => a * b)
  const values = (dtype: DType, value: () => number) =>
    Tensor.fromNumbers(device, Float32Array.from({ length: count }, value), shape, dtype)
  const levels = Math.min(120, 2 ** type.bits)
  const codes = Uint8Array.from({ length: N * K }, () => random.uniform() * levels)
  const order = Int32Array.from({ length: K }, (_, k) => (k * 5) % K)
  return {
    type,
    shape: [N, K],
    dtype: 'float32',
    codes: Tensor.fromBytes(device, codes, [N, K], type.dtype),
    block,
    scale: { values: values(scaleDtype, () => 0.01 * (1 + random.uniform())) },
    offset:
      offset === 'zeroPoint'
        ? { kind: offset, values: values('uint8', () => Math.floor(random.uniform() * levels)) }
        : offset && { kind: offset, values: values(scaleDtype, () => 0.05 * random.uniform()) },
    order: ordered ? Tensor.fromArray(device, order) : null,
  }
}

/** [rows, cols] → [cols, rows] */
const turned = (values: ArrayLike<number>, rows: number, cols: number) =>
  Float64Array.from({ length: rows * cols }, (_, i) => values[(i % rows) * cols + Math.floor(i / rows)])

for (const name of deviceNames) {
  describe(`gradients through quantized weights on ${name}`, () => {
    const device = openDevice(name)
    after(() => device.close())

    for (const [words, kind] of Object.entries(kinds)) {
      test(`${words}: those of the floats they stand for`, async () => {
        const random = new Random(3)
        const parts = partsOf(device, random, kind)
        const weight = QTensor.fromParts(parts)
        const x = Tensor.fromArray(device, normals(random, M * K), [1, M, K])
        const bias = Tensor.fromArray(device, normals(random, N))
        const g = normals(random, M * N)
        x.requiresGrad = true
        bias.requiresGrad = true
        const dy = Tensor.fromArray(device, g, [1, M, N])
        backward(() => sum(mul(linear(x, weight, bias), dy)))

        const w = turned(await weight.dequantize().toNumbers(), N, K)
        // What each float was before its shift was taken away: rounded once, too.
        const products = turned(
          await QTensor.fromParts({ ...parts, offset: null })
            .dequantize()
            .toNumbers(),
          N,
          K,
        )
        const bounds = dotTolerance(g, w, null, M, K, N)
        const roundings = dotTolerance(g, products, null, M, K, N)
        const dx = await (x.grad as Tensor).toNumbers()
        for (let m = 0; m < M; m++) {
          for (let k = 0; k < K; k++) {
            let expected = 0
            for (let n = 0; n < N; n++) expected += g[m * N + n] * w[k * N + n]
            const i = m * K + k
            const off = Math.abs(dx[i] - expected)
            assert.ok(off <= bounds[i] + roundings[i] / 8, `dx[${m}, ${k}] is ${dx[i]}, must be ${expected}`)
          }
        }
        const dbias = await (bias.grad as Tensor).toNumbers()
        for (let n = 0; n < N; n++) {
          const column = Array.from({ length: M }, (_, m) => g[m * N + n])
          const expected = column.reduce((a, b) => a + b)
          assert.ok(Math.abs(dbias[n] - expected) <= M * 2 ** -23 * Math.hypot(...column))
        }
      })
    }

    test('a step that trains adapters beside a frozen model holds no dequantized weight', async () => {
      const [features, rows] = [512, 4]
      class Adapted extends Module {
        base = new Linear(features, features)
        down = new Linear(features, 4, { bias: false })
        up = new Linear(4, features, { bias: false })

        forward(x: Tensor): Tensor {
          return add(this.base.forward(x), this.up.forward(this.down.forward(x)))
        }
      }
      const model = initialize(new Sequential(new Adapted(), new Adapted(), new Adapted()), device)
      quantize(model, { weights: 'int4', groupSize: 32, include: '*.base' })
      freeze(model)
      const adapters = [...model.namedParameters()].filter(([path]) => !path.includes('base'))
      const optimizer = new SGD(
        adapters.map(([, parameter]) => parameter as Tensor),
        { lr: 1e-3 },
      )
      const x = Tensor.fromArray(device, normals(new Random(1), rows * features), [rows, features])
      const loss = () => mean(mul(model.forward(x), model.forward(x)))
      const before = await loss().toNumbers()

      const held = device.allocatedBytes
      let most = held
      const { allocate } = device
      device.allocate = (bytes) => {
        const storage = allocate.call(device, bytes)
        most = Math.max(most, device.allocatedBytes)
        return storage
      }
      backward(loss).dispose()
      device.allocate = allocate
      optimizer.step()
      assert.ok((await loss().toNumbers())[0] < before[0], 'the loss falls')
      // Two passes of three layers, each with three results of so many floats, and their gradients.
      const activations = 2 * 3 * 4 * (4 * rows * features)
      const [gradients, float] = [3 * 2 * 4 * (4 * features), 4 * features * features]
      assert.ok(activations + gradients < float)
      assert.ok(most - held <= activations + gradients, `${most - held} bytes beside the model`)
    })
  })
}
