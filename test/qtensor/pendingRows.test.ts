import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import type { FloatDType } from '../../src/core/dtype.ts'
import { DeviceError } from '../../src/core/errors.ts'
import { qint8 } from '../../src/core/qtype.ts'
import { Random } from '../../src/core/random.ts'
import { openDevice } from '../../src/devices/open.ts'
import { magnitudes, normals } from '../../src/kernels/inputs.ts'
import { clipGradNorm, clipGradValue } from '../../src/nn/optim/clip.ts'
import { SGD } from '../../src/nn/optim/sgd.ts'
import { RMSNorm } from '../../src/nn/rmsNorm.ts'
import { quantizeRows } from '../../src/qtensor/dynamic.ts'
import { linear } from '../../src/qtensor/linear.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { absmax } from '../../src/quantize/quantizers.ts'
import { cast, rmsNorm, siluMul } from '../../src/tensor/ops/index.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'
import { kernelsOf } from '../kernelsOf.ts'

const sizes = [
  [1, 64, 32],
  [3, 1100, 32],
  [5, 300, 64],
  [2, 2100, 256],
  [2, 48, 16],
]

for (const name of deviceNames) {
  describe(`rows that are rounded as they are computed, on ${name}`, () => {
    const device = openDevice(name)
    after(() => device.close())
    const random = new Random(1)
    const tensor = (values: Float32Array, rows: number) =>
      Tensor.fromArray(device, values, [rows, values.length / rows])

    /** Each operation on rows, and the kernel that rounds what it gives. */
    const operations: [kernel: string, (rows: number, cols: number) => () => Tensor][] = [
      ...(['float32', 'float16', 'bfloat16'] as FloatDType[]).map(
        (dtype): [string, (rows: number, cols: number) => () => Tensor] => [
          'quantizeRmsNorm',
          (rows, cols) => {
            const x = tensor(normals(random, rows * cols), rows)
            const weight = cast(Tensor.fromArray(device, normals(random, cols, 0.2, 1)), dtype)
            return () => rmsNorm(x, weight, 1e-5)
          },
        ],
      ),
      [
        'quantizeSiluMul',
        (rows, cols) => {
          const gate = tensor(normals(random, rows * cols, 3), rows)
          const up = tensor(normals(random, rows * cols), rows)
          return () => siluMul(gate, up)
        },
      ],
      [
        'quantizeSiluMul',
        (rows, cols) => {
          const gate = tensor(magnitudes(random, rows * cols), rows)
          const up = tensor(normals(random, rows * cols), rows)
          return () => siluMul(gate, up)
        },
      ],
    ]

    test('have the codes, scales and sums of both kernels one behind the other, bit for bit', async () => {
      for (const [kernel, make] of operations) {
        for (const [rows, cols, groupSize] of sizes) {
          const compute = make(rows, cols)
          const rounded = (y: Tensor, levels: number) => quantizeRows(y, groupSize, levels)
          for (const levels of [127, 127.5]) {
            const pending = compute()
            let at: Tensor[] = []
            const ran = kernelsOf(device, () => {
              at = rounded(pending, levels)
            })
            assert.deepEqual(ran, [kernel])
            const behind = rounded(compute().computed(), levels)
            for (const [i, one] of at.entries())
              assert.deepEqual(
                await one.readBytes(),
                await behind[i].readBytes(),
                `${kernel} ${rows}x${cols}`,
              )
          }
        }
      }
    })

    test('are floats to whoever asks, before their codes and behind them', async () => {
      for (const [, make] of operations) {
        const compute = make(3, 300)
        const [first, second] = [compute(), compute()]
        const want = await first.readBytes()
        quantizeRows(second, 32)
        assert.deepEqual(await second.readBytes(), want)
        assert.deepEqual(await second.view([900]).readBytes(), want)
        assert.deepEqual(
          kernelsOf(device, () => void quantizeRows(first, 64)),
          ['quantizeRows'],
        )
        assert.equal(first.isMeta, false)
        assert.equal(String(first), `Tensor float32 [3,300] on ${device.name}`)
      }
    })

    test('are computed first where groups are wider than the kernels take', () => {
      const y = operations[0][1](2, 600)()
      assert.deepEqual(
        kernelsOf(device, () => void quantizeRows(y, 600)),
        ['rmsNorm', 'quantizeRows'],
      )
    })

    test('are computed before what they are computed from is overwritten', async () => {
      const x = tensor(normals(random, 64), 1)
      const norm = new RMSNorm(64, 1e-5)
      norm.resetParameters(device)
      const want = await norm.forward(x).readBytes()
      const written = norm.forward(x)
      x.write(new Uint8Array(new Float32Array(64).fill(7).buffer))
      assert.deepEqual(await written.readBytes(), want)
      const ones = await norm.forward(x).readBytes()
      const stepped = norm.forward(x)
      norm.weight.grad = Tensor.full(device, [64], 1)
      new SGD([norm.weight], { lr: 0.5 }).step()
      assert.deepEqual(await stepped.readBytes(), ones)
      assert.notDeepEqual(await norm.forward(x).readBytes(), ones)
    })

    test('are computed before a gradient that they are computed from is clipped', async () => {
      const norm = new RMSNorm(64, 1e-5)
      norm.resetParameters(device)
      const clips = [() => clipGradNorm([norm.weight], 1), () => clipGradValue([norm.weight], 0.1)]
      for (const clip of clips) {
        const gradient = tensor(normals(random, 64), 1)
        norm.weight.grad = gradient
        const want = await siluMul(gradient, gradient).readBytes()
        const pending = siluMul(gradient, gradient)
        clip()
        assert.deepEqual(await pending.readBytes(), want)
        assert.notDeepEqual(await siluMul(gradient, gradient).readBytes(), want)
      }
    })

    test('give their memory back, and say so', () => {
      const w = QTensor.quantize(tensor(normals(random, 64 * 32), 32), qint8, 32, absmax)
      const gate = tensor(normals(random, 256), 4)
      const before = device.allocatedBytes
      scope(() => void linear(siluMul(gate, gate), w, null, 'int8'))
      scope(() => void siluMul(gate, gate))
      scope(() => void siluMul(gate, gate).computed())
      assert.equal(device.allocatedBytes, before)
      const gone = siluMul(gate, gate)
      gone.dispose()
      assert.throws(() => gone.storage, DeviceError)
      assert.throws(() => quantizeRows(gone, 32), DeviceError)
    })
  })
}
