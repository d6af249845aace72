import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { qint4, qint8 } from '../../../src/core/qtype.ts'
import { openDevice } from '../../../src/devices/open.ts'
import { chooseScales, decodeRows, encodeRows } from '../../../src/qtensor/rows.ts'
import { fakeQuantizeWeight, groupsOf } from '../../../src/qtensor/weightBlocks.ts'
import { clipLimits } from '../../../src/quantize/algorithms/awqClip.ts'
import {
  gramError,
  gridScales,
  outputError,
  relativeMagnitudes,
  roundedBy,
} from '../../../src/quantize/algorithms/awqScales.ts'
import { InputMoments } from '../../../src/quantize/algorithms/inputMoments.ts'
import { max } from '../../../src/quantize/quantizers.ts'
import { div, mul, slice } from '../../../src/tensor/ops/index.ts'
import { matmulTransposed } from '../../../src/tensor/ops/matmulTransposed.ts'
import { scope } from '../../../src/tensor/scope.ts'
import { Tensor } from '../../../src/tensor/tensor.ts'
import { deviceNames } from '../../deviceNames.ts'
import { golden, readGolden } from '../../golden.ts'
import { equalRow, goldenRow, numberRow } from '../../goldenTable.ts'
import { distanceOf } from '../structure/distance.ts'

const folder = join(golden, 'single_tensor')
const inputs = await readGolden(join(folder, 'inputs.safetensors'))
const { items } = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8'))

/** What AutoAWQ was asked for. */
const cases = [
  { name: 'awq_g128_zp_duo', groupSize: 128, symmetric: false, duo: true },
  { name: 'awq_g64_zp_noduo', groupSize: 64, symmetric: false, duo: false },
  { name: 'awq_g128_sym_duo', groupSize: 128, symmetric: true, duo: true },
]

for (const deviceName of deviceNames) {
  describe(`AutoAWQ's search on ${deviceName}`, () => {
    const device = openDevice(deviceName, { threads: 2 })
    after(() => device.close())
    const input = (name: string) => {
      const { values, shape } = inputs.get(name) ?? assert.fail(name)
      return Tensor.fromNumbers(device, values, shape)
    }

    for (const { name, groupSize, symmetric, duo } of cases) {
      test(name, async () => {
        const { grid_losses, best_index } = items[name]
        const tensors = await readGolden(join(folder, `${name}.safetensors`))
        const theirs = (key: string) => tensors.get(key)?.values ?? assert.fail(key)
        // Codes from −8 to 7, of which −8 is never chosen, are what absmax gives; else zero points.
        const round = (rows: Tensor) =>
          symmetric
            ? roundedToSevens(rows, groupSize)
            : fakeQuantizeWeight(rows, qint4, Math.min(groupSize, rows.shape[1]), max, null, {
                zeroPoints: true,
              })
        using W = input('W_plain')
        using X = input('X')
        const moments = new InputMoments(384)
        moments.add(X)
        const x = scope(() => div(moments.magnitudes as Tensor, 512))
        const w = duo ? relativeMagnitudes([W], groupSize) : null
        const losses: number[] = []
        for (let i = 0; i < 20; i++) {
          const [byGram, byOutput] = scope(() => {
            const rounded = roundedBy(W, gridScales(x, w, i / 20), round)
            const gram = (moments.grams as Tensor).view([384, 384])
            return [
              gramError(W, rounded, gram),
              outputError(matmulTransposed(X, W), matmulTransposed(X, rounded)),
            ]
          })
          const [a, b] = [await byGram.item(), await byOutput.item()].map((sum) => sum / (512 * 96))
          assert.ok(Math.abs(a - b) < 1e-4 * b, `by sums of products ${a}, by outputs ${b}`)
          losses.push(a)
        }
        // Sums of 49152 squares in another order.
        for (const [i, loss] of losses.entries())
          assert.ok(Math.abs(loss / grid_losses[i] - 1) < 1e-3, `${loss} at ${i}; AutoAWQ ${grid_losses[i]}`)
        const best = losses.indexOf(Math.min(...losses))
        assert.equal(best, best_index)
        goldenRow({
          ...{ golden: name, device: deviceName, values: 'best of 20 grid points' },
          ...{ ours: `${best}`, theirs: `${best_index}`, difference: 'equal', allowed: 'equal' },
        })
        numberRow(name, deviceName, 'error of outputs there', losses[best], grid_losses[best], '0.1 %')
        using scales = gridScales(x, w, best / 20)
        assert.ok(distanceOf(theirs('scales_awq'), await scales.toNumbers()) < 1e-6)

        // Of AutoAWQ's own scales: whether a range is a bit above or below 15 / 2 steps decides on zero points.
        const limits = scope(() => {
          const given = Tensor.fromNumbers(device, theirs('scales_awq'), [384])
          const scaled = new InputMoments(groupSize)
          scaled.add(div(X, given))
          return clipLimits(slice(mul(W, given), 0, 0, 64), scaled.grams as Tensor, round)
        })
        assert.deepEqual([...(await limits.toNumbers())], Array.from(theirs('clip_max_rows0_63')))
        equalRow(name, deviceName, 'limits of clipped ranges')
      })
    }
  })
}

/** scale = max |w| / 7, which no other quantizer of unsigned types has: AutoAWQ without zero points. */
function roundedToSevens(rows: Tensor, groupSize: number): Tensor {
  return scope(() => {
    const groups = groupsOf(rows, Math.min(groupSize, rows.shape[1]))
    const range = { qmin: -7, qmax: 7 }
    const scales = chooseScales(groups, 'absmax', range)
    return decodeRows(encodeRows(groups, scales, qint8, { range }), scales, qint8).view(rows.shape)
  })
}
