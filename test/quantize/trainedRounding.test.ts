import assert from 'node:assert/strict'
import { qint2, qint4, qint8 } from '../../src/core/qtype.ts'
import { Random } from '../../src/core/random.ts'
import { quantizeCalibrated } from '../../src/models/quantizeCalibrated.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { QLinear } from '../../src/nn/qlinear.ts'
import { Uncalibrated } from '../../src/nn/uncalibrated.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { autoRound } from '../../src/quantize/algorithms/autoRound.ts'
import { distilScales } from '../../src/quantize/algorithms/distilScales.ts'
import { TrainedLayer } from '../../src/quantize/algorithms/trainedLayer.ts'
import { absmax, max } from '../../src/quantize/quantizers.ts'
import { noGrad } from '../../src/tensor/tape.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from '../tensor/devices.ts'

/* Rounding and scales that train, on one row of weights whose best codes and scale are found by hand. */

class Row extends Module {
  readonly fc = new Linear(4, 1, { bias: false })
  forward(x: Tensor): Tensor {
    return this.fc.forward(x)
  }
}

/** The row of −1 … 2 is quantized in steps of 1 to −1, 0, 1, 2; of its weights the first two see inputs. */
const data = (x: Tensor) => ({ data: [x], onWarning: assert.fail })

testOnDevices(
  'autoRound rounds 0.45 up where 0.45 + 0.3 is to be 0.75, and both nearest make 0',
  async (device) => {
    const model = new Row()
    model.fc.weight = Tensor.fromArray(device, Float32Array.of(0.45, 0.3, -1, 2)).view([1, 4])
    const x = Tensor.fromArray(device, Float32Array.of(1, 1, 0, 0)).view([1, 4])
    await quantizeCalibrated(model, { algorithm: autoRound({ bits: 2, groupSize: null }), ...data(x) })
    const weight = model.fc.weight as unknown as QTensor
    assert.deepEqual([...(await weight.codes().toNumbers())], [2, 1, 0, 3])
    const [y] = await model.forward(x).toNumbers()
    assert.ok(Math.abs(y - 0.75) < 0.25, `${y}`)
  },
)

testOnDevices('distilScales finds the scale of least squares, and leaves codes', async (device) => {
  const model = new Row()
  model.fc.weight = Tensor.fromArray(device, Float32Array.of(1.2, 1.2, -1, 2)).view([1, 4])
  const x = Tensor.fromArray(device, Float32Array.of(1, 1, 0, 0)).view([1, 4])
  const algorithm = distilScales({ bits: 2, groupSize: null, loss: 'mse', batchTokens: 1, steps: 300 })
  const told: number[] = []
  await quantizeCalibrated(model, { algorithm, ...data(x), onProgress: ({ done }) => told.push(done) })
  // One stage is solved, and one is training.
  assert.equal(told.filter((done) => done > 0.5).length, 300)
  assert.equal(told.at(-1), 1)
  const weight = model.fc.weight as unknown as QTensor
  assert.deepEqual([...(await weight.codes().toNumbers())], [2, 2, 0, 3])
  // 2 · scale = 2.4
  const [scale] = await weight.scale('float32').toNumbers()
  assert.ok(Math.abs(scale - 1.2) < 0.005, `${scale}`)
})

testOnDevices('distilScales keeps outputs of as many samples as it may, and says so', async (device) => {
  const model = new Row()
  model.fc.weight = Tensor.fromArray(device, Float32Array.of(1.2, 1.2, -1, 2)).view([1, 4])
  const row = (...x: number[]) => Tensor.fromArray(device, Float32Array.from(x)).view([1, 4])
  const warnings: string[] = []
  const algorithm = distilScales({ bits: 2, groupSize: null, loss: 'mse', batchTokens: 1, maxOutputBytes: 4 })
  await quantizeCalibrated(model, {
    algorithm,
    // With the second sample, too, the best scale would be 1.16.
    data: [row(1, 1, 0, 0), row(0, 0, -1, 0)],
    onWarning: (message) => warnings.push(message),
  })
  assert.match(warnings.join(), /outputs of 1 of 2 samples fill maxOutputBytes \(4\)/)
  const [scale] = await (model.fc.weight as unknown as QTensor).scale('float32').toNumbers()
  assert.ok(Math.abs(scale - 1.2) < 0.01, `${scale}`)
})

testOnDevices('distilScales with rounding moves a code where scales cannot help', async (device) => {
  const model = new Row()
  model.fc.weight = Tensor.fromArray(device, Float32Array.of(0.45, 0.3, -1, 2)).view([1, 4])
  const x = Tensor.fromArray(device, Float32Array.of(1, 1, 0, 0)).view([1, 4])
  const algorithm = distilScales({
    bits: 2,
    groupSize: null,
    loss: 'mse',
    rounding: true,
    batchTokens: 1,
    steps: 100,
  })
  await quantizeCalibrated(model, { algorithm, ...data(x) })
  const [y] = await model.forward(x).toNumbers()
  // Nearest codes give 0 at every scale.
  assert.ok(Math.abs(y - 0.75) < 0.3, `${y}`)
})

const uncalibrated = { qtype: null, uncalibrated: new Uncalibrated() }
const zeros = { zeroPoints: true }

for (const [name, quantization] of [
  ['shifts', { qtype: qint4, groupSize: 11, quantizer: max }],
  ['zero points, the last group short', { qtype: qint2, groupSize: 32, quantizer: max, ...zeros }],
  ['no offset', { qtype: qint8, groupSize: null, quantizer: absmax }],
] as const)
  for (const ordered of [false, true])
    testOnDevices(
      `before it trains a layer gives what its codes give: ${name}${ordered ? ', columns reordered' : ''}`,
      async (device) => {
        const random = new Random(7)
        const numbers = (...shape: number[]) =>
          Tensor.fromArray(
            device,
            Float32Array.from({ length: shape[0] * shape[1] }, () => random.normal()),
          ).view(shape)
        const layer = new Linear(44, 3, { bias: false })
        layer.weight = numbers(3, 44)
        const twin = new QLinear(layer, quantization, uncalibrated)
        const parts = twin.quantizedWeight().parts()
        const order = Tensor.fromArray(
          device,
          Int32Array.from({ length: 44 }, (_, i) => (i * 7 + 3) % 44),
        )
        const weight = QTensor.fromParts({ ...parts, order: ordered ? order : null })
        twin.weight = weight
        const x = numbers(5, 44)
        const expected = await twin.forward(x).toNumbers()
        for (const float of [null, weight.dequantize()]) {
          const trained = new TrainedLayer(twin, weight, float)
          const y = await (noGrad(() => trained.forward(x)) as Tensor).toNumbers()
          for (const [i, value] of y.entries())
            assert.ok(Math.abs(value - expected[i]) < 1e-4, `${value} ${expected[i]}`)
          const after = trained.parts()
          assert.deepEqual(await after.codes.toNumbers(), await parts.codes.toNumbers())
          assert.deepEqual(
            await (after.scale as { values: Tensor }).values.toNumbers(),
            await (parts.scale as { values: Tensor }).values.toNumbers(),
          )
        }
      },
    )
