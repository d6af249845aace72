import assert from 'node:assert/strict'
import { join } from 'node:path'
import type { FloatDType } from '../../src/core/dtype.ts'
import { unsignedType } from '../../src/core/qtype.ts'
import { packCodes, wordRows } from '../../src/qtensor/packing.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { mlx } from '../../src/quantize/quantizers.ts'
import { neg } from '../../src/tensor/ops/index.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { golden, readGolden } from '../golden.ts'
import { testOnDevices } from '../tensor/devices.ts'

/*
 * MLX's affine mode beside mx.quantize and mx.dequantize: words, scales, biases and dequantized weights bit
 * for bit, of groups around zero, on one side of it, constant ones, and zeros. Made by
 * scripts/make-mlx-fixtures.py.
 */

testOnDevices('mx.quantize: codes, scales and biases of 2 to 8 bits', async (device) => {
  const tensors = await readGolden(join(golden, 'mlx.safetensors'))
  for (const dtype of ['float32', 'float16', 'bfloat16'] satisfies FloatDType[]) {
    const input = tensors.get(dtype)
    assert.ok(input)
    for (const bits of [2, 3, 4, 5, 6, 8]) {
      using x = Tensor.fromBytes(device, input.bytes, input.shape, dtype)
      using weight = QTensor.quantize(x, unsignedType(bits), 64, mlx)
      const same = async (part: string, make: () => Tensor) => {
        using ours = scope(make)
        const theirs = tensors.get(`${dtype}.${bits}.${part}`)
        assert.ok(
          Buffer.from(await ours.readBytes()).equals(theirs?.bytes ?? Buffer.alloc(0)),
          `${dtype} ${bits} ${part}`,
        )
      }
      // Zeros of any sign.
      const equal = async (part: string, make: () => Tensor) => {
        using ours = scope(make)
        const theirs = tensors.get(`${dtype}.${bits}.${part}`)?.values ?? []
        assert.ok(
          (await ours.toNumbers()).every((value, i) => value === theirs[i]),
          `${dtype} ${bits} ${part}`,
        )
      }
      await same('weight', () => packCodes(weight.codes(), wordRows(8, 128, bits)))
      await same('scales', () => weight.scale())
      await equal('biases', () => neg(weight.shift('float32') as Tensor))
      await equal('dequantized', () => weight.dequantize())
    }
  }
})
