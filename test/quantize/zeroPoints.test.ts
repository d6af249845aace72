import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { FloatDType } from '../../src/core/dtype.ts'
import { qint2, qint3, qint4, quint8 } from '../../src/core/qtype.ts'
import { openDevice } from '../../src/devices/open.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Sequential } from '../../src/nn/sequential.ts'
import type { QTensor } from '../../src/qtensor/qtensor.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { max } from '../../src/quantize/quantizers.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { golden, readGolden } from '../golden.ts'

/*
 * Scales, integer zero points and codes of rows are those of GPTQModel's Quantizer.find_params and AutoAWQ's
 * pseudo_quantize_tensor, bit for bit (scripts/make-zero-point-fixtures.py), where a row has both signs.
 */

const device = openDevice('cpu', { threads: 2 })
after(() => device.close())
const fixtures = await readGolden(join(golden, 'zeroPoints.safetensors'))
const types = { 2: qint2, 3: qint3, 4: qint4, 8: quint8 }
const [rows, cols] = [64, 48]
/** Rows of both signs. */
const both = 60

for (const dtype of ['float32', 'float16'] as const) {
  const cases = new Set([...fixtures.keys()].map((key) => key.split('/').slice(0, 2).join('/')))
  for (const name of cases) {
    if (!name.startsWith(`${dtype}/`) || name.endsWith('/weight')) continue
    test(name, async () => {
      const [, bits, symmetry] = name.split(' ')
      const result = scope(() => {
        const weight = Tensor.fromBytes(device, bytesOf(`${dtype}/weight`), [rows, cols], dtype as FloatDType)
        const type = types[Number(bits) as keyof typeof types]
        const computed = fixtures.get(`${name}/scale`)?.dtype as FloatDType
        const scaleDtype = computed === dtype ? undefined : computed
        const options = { zeroPoints: true, symmetric: symmetry === 'sym', scaleDtype }
        const { codes, scale, offset } = max.solve(weight, {
          type,
          block: { kind: 'group', size: cols },
          ...options,
        })
        assert.ok('values' in scale && offset && 'values' in offset)
        return { codes, scale: scale.values, zero: offset.values }
      })
      const scale = await result.scale.readBytes()
      assert.deepEqual(Buffer.from(scale.slice(0, (scale.length / rows) * both)), bytesUpTo(`${name}/scale`))
      assert.deepEqual(
        Buffer.from((await result.codes.readBytes()).slice(0, both * cols)),
        bytesUpTo(`${name}/codes`),
      )
      const zero = Int32Array.from(await result.zero.readBytes())
      assert.deepEqual(Buffer.from(zero.slice(0, both).buffer), bytesUpTo(`${name}/zero`))
      for (const tensor of Object.values(result)) tensor.dispose()
    })
  }
}

function bytesOf(name: string): Uint8Array {
  const found = fixtures.get(name)
  assert.ok(found, name)
  return found.bytes
}

/** Of the rows with both signs. */
function bytesUpTo(name: string): Buffer {
  const bytes = bytesOf(name)
  return Buffer.from(bytes.slice(0, (bytes.length / rows) * both))
}

test('3 bits have zero points unless they are refused, so that there is a format that holds them', async () => {
  const parts = (options: { zeroPoints?: boolean }) => {
    const model = new Sequential(new Linear(4, 1, { bias: false }))
    // From −3 to 4 in steps of 1: the zero point is 3, and the code of w is w + 3.
    Reflect.get(model, '0').weight = Tensor.fromArray(device, Float32Array.of(-3, 4, 1, 0)).view([1, 4])
    quantize(model, { weights: 'int3', ...options })
    freeze(model)
    return (Reflect.get(model, '0').weight as QTensor).parts()
  }
  const { codes, offset } = parts({})
  assert.deepEqual([...(await codes.toNumbers())], [0, 7, 4, 3])
  assert.equal(offset?.kind, 'zeroPoint')
  assert.equal(parts({ zeroPoints: false }).offset?.kind, 'shift')
})
