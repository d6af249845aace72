import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { dtypes } from '../../src/core/dtype.ts'
import { asQType, qint4 } from '../../src/core/qtype.ts'
import { openDevice } from '../../src/devices/open.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { groupSpec, type Quantizer } from '../../src/qtensor/quantizer.ts'
import { chooseScales } from '../../src/qtensor/rows.ts'
import { groupQuantizer } from '../../src/quantize/groupQuantizer.ts'
import { hqq, max, quantizers, withZeroPoint } from '../../src/quantize/quantizers.ts'
import { keep, scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'
import { golden, readGolden } from '../golden.ts'
import { boundRow, equalRow, goldenRow } from '../goldenTable.ts'

const folder = join(golden, 'single_tensor')
const inputs = await readGolden(join(folder, 'inputs.safetensors'))

const sameBytes = (ours: Uint8Array, theirs: Uint8Array | undefined, what: string) =>
  assert.ok(Buffer.from(ours).equals(theirs ?? Buffer.alloc(0)), `${what} differ`)

/** Steps that HqqOptimizer(verbose=True) printed for W in groups of 128, by type and dtype of W. */
const hqqSteps = {
  int2: { float32: 20, bfloat16: 3, float16: 12 },
  int4: { float32: 17, bfloat16: 4, float16: 10 },
} as const

for (const name of deviceNames) {
  describe(`a 96 x 384 weight on ${name}`, () => {
    const device = openDevice(name, { threads: 2 })
    after(() => device.close())
    const weight = (key: string, dtype: 'float32' | 'float16' | 'bfloat16' = 'float32') =>
      Tensor.fromNumbers(device, inputs.get(key)?.values ?? [], [96, 384], dtype)

    for (const [item, quantizer] of [
      ['quanto_absmax_int8', 'absmax'],
      ['quanto_absmax_float8_e4m3fn', 'absmax'],
      ['quanto_max_int4_g128', 'max'],
      ['quanto_max_int4_g32', 'max'],
      ['quanto_max_int2_g128', 'max'],
      ['quanto_max_int2_g32', 'max'],
      ['quanto_hqq_int2_g128', 'hqq'],
      ['quanto_hqq_int4_g128', 'hqq'],
    ] as const) {
      test(item, async () => {
        const tensors = await readGolden(join(folder, `${item}.safetensors`))
        const [, , type, group] = /^quanto_(\w+?)_((?:int|float)\w+?)(?:_g(\d+))?$/.exec(item) ?? []
        const parts = scope(() => {
          using float = weight(item.includes('float8') ? 'W_plain' : 'W')
          const q = QTensor.quantize(
            float,
            asQType(type),
            group ? Number(group) : null,
            quantizers[quantizer],
          )
          return keep({ codes: q.codes(), scale: q.scale(), shift: q.shift(), whole: q })
        })
        sameBytes(
          await parts.codes.readBytes(),
          (tensors.get('codes_grouped') ?? tensors.get('data'))?.bytes,
          'codes',
        )
        sameBytes(await parts.scale.readBytes(), tensors.get('scale')?.bytes, 'scales')
        const shifts = tensors.get('shift')
        if (quantizer !== 'hqq' && parts.shift)
          sameBytes(await parts.shift.readBytes(), shifts?.bytes, 'shifts')
        if (quantizer === 'hqq' && parts.shift && shifts) {
          const scales = await parts.scale.toNumbers()
          let share = 0
          for (const [i, shift] of (await parts.shift.toNumbers()).entries()) {
            const error = Math.abs(shift - shifts.values[i])
            assert.ok(error <= 1e-5 * scales[i], `shift ${i} is ${shift}, not ${shifts.values[i]}`)
            if (error > 0) share = Math.max(share, error / (1e-5 * scales[i]))
          }
          equalRow(item, name, 'codes, scales')
          boundRow(item, name, 'shifts, within 1e-5 · scale', share)
        } else equalRow(item, name, 'codes, scales, shifts')
      })
    }

    for (const [type, byDType] of Object.entries(hqqSteps)) {
      for (const [dtype, steps] of Object.entries(byDType) as [keyof typeof byDType, number][]) {
        test(`hqq ends after ${steps} steps for ${type} in ${dtype}`, async () => {
          const qtype = asQType(type)
          const W = weight('W', dtype)
          const groups = W.view([288, 128])
          const { scale, shift } = chooseScales(groups, 'range', { ...qtype, offset: 'shift' })
          const [trial, next] = [0, 1].map(() => Tensor.empty(device, [288], dtype))
          const error = Tensor.empty(device, [288])
          const count = Tensor.empty(device, [1], 'int32')
          assert.ok(shift)
          const search = { scale, shift, trial, next, error, iterations: count }
          device.call('hqqShift', {
            x: groups,
            dtype: dtypes[dtype].code,
            ...search,
            rows: 288,
            cols: 128,
            levels: qtype.qmax,
            norm: 0.7,
            beta: 10,
            kappa: 1.01,
            maxIterations: 20,
          })
          const taken = [...(await count.read())]
          assert.deepEqual(taken, [steps])
          const equal = { ours: String(taken[0]), theirs: String(steps), difference: '0', allowed: '0' }
          goldenRow({ golden: `quanto_hqq_${type}_g128 ${dtype}`, device: name, values: 'steps', ...equal })
        })
      }
    }
  })
}

describe('by hand', () => {
  const device = openDevice('cpu', { threads: 1 })
  after(() => device.close())
  const parts = async (values: number[], quantizer: Quantizer) => {
    const q = QTensor.quantize(Tensor.fromNumbers(device, values, [1, values.length]), qint4, null, quantizer)
    const read = async (tensor: Tensor | null) => tensor && [...(await tensor.toNumbers())]
    return {
      codes: await read(q.codes()),
      scale: await read(q.scale()),
      shift: await read(q.shift()),
      zeroPoint: await read(q.zeroPoint()),
      values: await read(q.dequantize()),
      q,
    }
  }

  test('a zero point keeps 0: scale 1, shift 2.3 rounds to 2', async () => {
    const { codes, scale, shift, zeroPoint, values } = await parts([-2.3, 0, 1.6, 12.7], withZeroPoint(max))
    // (12.7 + 2.3) / 15 = 1 in float32; −2.3 → −2 + 2, 12.7 → 13 + 2.
    assert.deepEqual(
      { codes, scale, shift, zeroPoint, values },
      { codes: [0, 2, 4, 15], scale: [1], shift: [2], zeroPoint: [2], values: [-2, 0, 2, 13] },
    )
  })

  test('a range beside 0 is stretched to within half a step of it', async () => {
    // Steps of 1 become 1 + (20 − 1/2) / 15 = 2.3: 20 / 2.3 rounds to 9, 35 / 2.3 = 15.2 is the last code.
    const above = await parts([20, 35], withZeroPoint(max))
    assert.deepEqual([above.codes, above.zeroPoint], [[9, 15], [0]])
    const below = await parts([-20, -35], withZeroPoint(max))
    assert.deepEqual([below.codes, below.zeroPoint], [[6, 0], [15]])
    // 0 lies half a step below the range: z = rne(−1/2) = 0 needs no clamping, as in quanto.
    assert.deepEqual((await parts([0.5, 15.5], withZeroPoint(max))).scale, [1])
  })

  test('a group of one value keeps it', async () => {
    for (const value of [5, -5, 3e-4, 0]) {
      const { values, zeroPoint } = await parts([value, value, value], withZeroPoint(max))
      assert.deepEqual(zeroPoint, [value < 0 ? 15 : 0])
      // value / 15, and 15 times that, each rounded once.
      for (const held of values ?? [])
        assert.ok(Math.abs(held - value) <= 2 * 2 ** -24 * Math.abs(value), `${held}, not ${value}`)
    }
  })

  test('one of the user, and codes of its own', async () => {
    const chosen = (groups: Tensor) => ({
      scale: Tensor.fromNumbers(device, new Float32Array(groups.shape[0]).fill(0.5)),
      shift: Tensor.fromNumbers(device, new Float32Array(groups.shape[0]).fill(1)),
    })
    const halves = groupQuantizer('halves', chosen)
    assert.deepEqual((await parts([-1, 0, 0.5, 6.4], halves)).codes, [0, 2, 3, 15])
    const fixed = groupQuantizer('fixed', (groups) => ({
      ...chosen(groups),
      codes: Tensor.fromArray(device, Uint8Array.of(3, 1, 4, 1)),
    }))
    const { codes, values } = await parts([-1, 0, 0.5, 6.4], fixed)
    assert.deepEqual({ codes, values }, { codes: [3, 1, 4, 1], values: [0.5, -0.5, 1, -0.5] })
  })

  test('a copy and the size of a tensor with zero points', async () => {
    const { q } = await parts([-2.3, 0, 1.6, 12.7], withZeroPoint(max))
    assert.deepEqual([...(await q.clone().dequantize().toNumbers())], [-2, 0, 2, 13])
    // Four codes of 4 bits, a float32 scale, a zero point of a byte.
    assert.equal(q.byteLength, 2 + 4 + 1)
  })

  test('hqq and zero points are for unsigned types', () => {
    const groups = Tensor.fromNumbers(device, [1, 2], [1, 2])
    assert.throws(
      () => hqq().solve(groups, groupSpec(asQType('int8'), null, [1, 2])),
      /hqq: the type must be unsigned \(int2 or int4\); received qint8/,
    )
    assert.throws(
      () => withZeroPoint(quantizers.absmax).solve(groups, groupSpec(asQType('int8'), null, [1, 2])),
      /withZeroPoint: .* received none for qint8/,
    )
    assert.doesNotThrow(() => hqq({ iterations: 0 }).solve(groups, groupSpec(qint4, null, [1, 2])))
  })
})
