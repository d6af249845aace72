import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import type { FloatDType } from '../../src/core/dtype.ts'
import { asQType } from '../../src/core/qtype.ts'
import { openDevice } from '../../src/devices/open.ts'
import { linear } from '../../src/qtensor/linear.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import type { Quantizer } from '../../src/qtensor/quantizer.ts'
import type { QuantizeOptions } from '../../src/quantize/quantize.ts'
import {
  float8DynamicActivationFloat8Weight,
  float8WeightOnly,
  type IntxName,
  int4WeightOnly,
  int8DynamicActivationInt4Weight,
  int8DynamicActivationInt8Weight,
  int8WeightOnly,
  intxWeightOnly,
  type Mapping,
} from '../../src/quantize/recipes.ts'
import { cast } from '../../src/tensor/ops/elementwise.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'
import { golden as folder, type GoldenTensor, readGolden } from '../golden.ts'

function get(golden: Map<string, GoldenTensor>, name: string): GoldenTensor {
  const found = golden.get(name)
  assert.ok(found, `${name} is not in the golden file`)
  return found
}

/**
 * The codes and zero points of torchao, which are signed, as the numbers that ours are, stored 2^(bits − 1)
 * higher in unsigned types.
 */
const signed = (values: ArrayLike<number>, offset: number) => Array.from(values, (value) => value - offset)

const golden = await readGolden(join(folder, 'torchao.safetensors'))

function quantized(weight: Tensor, { weights, groupSize, algorithm }: QuantizeOptions): QTensor {
  return QTensor.quantize(weight, asQType(weights), groupSize ?? null, algorithm as Quantizer)
}

interface Parts {
  scale: GoldenTensor
  codes: GoldenTensor
  zeroPoint?: GoldenTensor
  dequant?: GoldenTensor
}

/**
 * Codes, scales and zero points to the last bit; dequantized values in the weight's dtype, where torchao kept
 * them so.
 */
async function checkParts(q: QTensor, theirs: Parts, offset: number): Promise<void> {
  assert.deepEqual([...(await q.scale().toNumbers())], [...Array.from(theirs.scale.values)], 'scales')
  assert.deepEqual(signed(await q.codes().toNumbers(), offset), [...Array.from(theirs.codes.values)], 'codes')
  const z = q.zeroPoint()
  const zeros = z
    ? signed(await z.toNumbers(), offset)
    : theirs.zeroPoint && Array.from(theirs.zeroPoint.values, () => 0)
  if (theirs.zeroPoint) assert.deepEqual(zeros, [...Array.from(theirs.zeroPoint.values)], 'zero points')
  if (!theirs.dequant) return
  const { dtype, values } = theirs.dequant
  assert.deepEqual(
    [...(await cast(q.dequantize(), dtype).toNumbers())],
    [...Array.from(values)],
    'dequantized',
  )
}

const mappings: Record<string, Mapping> = {
  SYMMETRIC: 'symmetric',
  SYMMETRIC_NO_CLIPPING_ERR: 'symmetricNoClippingError',
  ASYMMETRIC: 'asymmetric',
}

for (const name of deviceNames) {
  describe(`torchao's recipes on ${name}`, () => {
    const device = openDevice(name, { threads: 2 })
    after(() => device.close())
    const tensorOf = ({ values, shape, dtype }: GoldenTensor) =>
      Tensor.fromNumbers(device, values, shape, dtype)

    for (const dtype of ['float32', 'bfloat16', 'float16'] as FloatDType[]) {
      const items = new Set(
        [...golden.keys()].filter((key) => key.startsWith(`${dtype}.`)).map((key) => key.split('.')[1]),
      )
      for (const item of items) {
        if (item.startsWith('weight') || item === 'tinygemm') continue
        test(`${dtype} ${item}: codes, scales, zero points, dequantized`, async () => {
          const match = /^int(\d)_([A-Z_]+)$/.exec(item)
          const bits = Number(match?.[1] ?? 8)
          const recipe = match
            ? intxWeightOnly({
                weightDtype: `int${bits}` as IntxName,
                groupSize: 64,
                mapping: mappings[match[2]],
              })
            : item === 'float8'
              ? float8WeightOnly()
              : int8WeightOnly({ groupSize: item === 'int8' ? null : 64 })
          const q = quantized(
            tensorOf(get(golden, `${dtype}.${item === 'float8' ? 'weight_float8' : 'weight'}`)),
            recipe,
          )
          const part = (name: string) => golden.get(`${dtype}.${item}.${name}`)
          const [scale, codes] = [
            get(golden, `${dtype}.${item}.scale`),
            get(golden, `${dtype}.${item}.codes`),
          ]
          await checkParts(
            q,
            { scale, codes, zeroPoint: part('zero_point'), dequant: part('dequant') },
            bits < 8 ? 2 ** (bits - 1) : 0,
          )
        })
      }

      test(`${dtype} int4WeightOnly: codes and scales of tinygemm`, async () => {
        const q = quantized(tensorOf(get(golden, `${dtype}.weight`)), int4WeightOnly({ groupSize: 64 }))
        // torchao's least scale, for constant groups: their codes are 0 as ours with scale 0, since the shift
        // is min in both.
        const scales = await q.scale().toNumbers()
        const theirs = get(golden, `${dtype}.tinygemm.scale`).values
        const codes = await q.codes().toNumbers()
        const theirCodes = get(golden, `${dtype}.tinygemm.codes`).values
        const values = await q.dequantize().toNumbers()
        const theirValues = get(golden, `${dtype}.tinygemm.dequant`).values
        const unit = { float32: 2 ** -23, float16: 2 ** -10, bfloat16: 2 ** -7 }[
          dtype as 'float32' | 'float16' | 'bfloat16'
        ]
        for (let g = 0; g < scales.length; g++) {
          if (scales[g] === 0) assert.ok(theirs[g] < 2 ** -13, `scale ${g} is 0, not ${theirs[g]}`)
          else assert.equal(scales[g], theirs[g], `scale ${g}`)
          for (let i = g * 64; i < (g + 1) * 64; i++) {
            if (scales[g] !== 0) assert.equal(codes[i], theirCodes[i], `code ${i}`)
            // 15 · scale and the shift, both rounded, and their sum: at most half a unit of each.
            const bound = unit * (16 * scales[g] + Math.abs(theirValues[i]))
            assert.ok(
              Math.abs(values[i] - theirValues[i]) <= bound,
              `value ${i} is ${values[i]}, not ${theirValues[i]}`,
            )
          }
        }
      })
    }

    for (const [label, recipe, activations, output] of [
      ['int8 a token', int8DynamicActivationInt8Weight(), 'x.int8', 'x.y.int8_dyn'],
      [
        'int8 a token with zero points, int4 weights',
        int8DynamicActivationInt4Weight({ groupSize: 64 }),
        'x.int8_asymmetric',
        'x.y.8da4w',
      ],
      ['float8 a token', float8DynamicActivationFloat8Weight(), 'x.float8', null],
    ] as const) {
      test(`dynamic activations: ${label}`, async () => {
        const weight = tensorOf(get(golden, 'float32.weight'))
        const q = quantized(weight, recipe)
        const x = tensorOf(get(golden, 'x'))
        const y = await scope(() => linear(x, q, null, recipe.computeDtype)).toNumbers()
        const xs = get(golden, 'x').values
        // A code of −128, where torchao has one, is kept at −127.
        const rounded = Float64Array.from(get(golden, activations).values, (value, i) => {
          const start = i - (i % 128)
          const scale =
            Math.max(
              ...Array.from(xs)
                .slice(start, start + 128)
                .map(Math.abs),
            ) / 127.5
          return activations === 'x.int8' ? Math.max(value, -127 * scale) : value
        })
        const w = await q.dequantize().toNumbers()
        const theirs = output && get(golden, output).values
        for (let m = 0; m < 4; m++) {
          for (let n = 0; n < 6; n++) {
            let [sum, exact, xx, ww] = [0, 0, 0, 0]
            for (let k = 0; k < 128; k++) {
              const [a, b] = [rounded[m * 128 + k], w[n * 128 + k]]
              sum += a * b
              exact += get(golden, activations).values[m * 128 + k] * b
              xx += a * a
              ww += b * b
            }
            const bound = 4 * 2 ** -23 * Math.sqrt(xx * ww)
            const value = y[m * 6 + n]
            assert.ok(Math.abs(value - sum) <= bound, `y[${m},${n}] is ${value}, not ${sum} ± ${bound}`)
            if (theirs)
              assert.ok(
                Math.abs(exact - theirs[m * 6 + n]) <= bound,
                `y[${m},${n}] of torchao is ${theirs[m * 6 + n]}, not ${exact}`,
              )
          }
        }
      })
    }

    describe('a 96 x 384 weight', () => {
      for (const [item, recipe, offset] of [
        ['torchao_int8_wo', int8WeightOnly(), 0],
        ['torchao_int8_dyn', int8DynamicActivationInt8Weight(), 0],
        ['torchao_float8_wo', float8WeightOnly(), 0],
        ['torchao_intx4_g32', intxWeightOnly({ weightDtype: 'int4', groupSize: 32 }), 8],
        ['torchao_intx8_axis', intxWeightOnly(), 0],
        ['torchao_affine_int4_sym_g32', intxWeightOnly({ weightDtype: 'int4', groupSize: 32 }), 8],
        ['torchao_affine_int8_asym_row', intxWeightOnly({ mapping: 'asymmetric' }), 0],
        ['torchao_affine_int8_symnce_row', intxWeightOnly({ mapping: 'symmetricNoClippingError' }), 0],
        // torchao's codes are unsigned there, as ours.
        [
          'torchao_affine_int4_asym_g32',
          intxWeightOnly({ weightDtype: 'int4', groupSize: 32, mapping: 'asymmetric' }),
          0,
        ],
      ] as const) {
        test(item, async () => {
          const inputs = await readGolden(join(folder, 'single_tensor/inputs.safetensors'))
          const theirs = await readGolden(join(folder, `single_tensor/${item}.safetensors`))
          const q = quantized(tensorOf(get(inputs, item.includes('float8') ? 'W_plain' : 'W')), recipe)
          const codes = theirs.get('qdata') ?? get(theirs, 'codes')
          await checkParts(
            q,
            { scale: get(theirs, 'scale'), codes, zeroPoint: theirs.get('zero_point') },
            offset,
          )
        })
      }
    })
  })
}
