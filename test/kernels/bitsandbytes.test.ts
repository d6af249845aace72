import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { type DType, dtypes, type FloatDType, type HostArray, viewAs } from '../../src/core/dtype.ts'
import { openFile } from '../../src/formats/files.node.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { nestScale } from '../../src/kernels/quantize/nestScale/nestScale.ts'
import { quantizeCodebook } from '../../src/kernels/quantize/quantizeCodebook/quantizeCodebook.ts'
import { dynamicMap } from '../../src/quantize/dynamicMap.ts'

/** Made by scripts/make-bitsandbytes-fixtures.py. */
const golden = await openSafetensors(
  await openFile(new URL('../golden/bitsandbytes.safetensors', import.meta.url)),
)
after(() => golden.close())

async function read(name: string): Promise<HostArray> {
  const info = golden.tensors.get(name)
  assert.ok(info, name)
  return viewAs(info.dtype as DType, (await golden.read(name)).slice())
}

const keys = [...golden.tensors.keys()]
  .filter((name) => name.endsWith('.packed'))
  .map((name) => name.slice(0, -'.packed'.length))

/** 4-bit codes two a byte, the first in the high bits; a last one alone has code 0's value beside it. */
function unpack(packed: HostArray, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => (Number(packed[i >> 1]) >> (i % 2 ? 0 : 4)) & 15)
}

describe('codes and scales as bitsandbytes makes them, bit by bit', () => {
  test('the map of scales that are quantized once more', async () => {
    assert.deepEqual(dynamicMap(), await read('nested.map'))
  })
  test('there are 40 settings', () => assert.equal(keys.length, 40))
  for (const key of keys) {
    test(key, async () => {
      const [weight, dtype, kind, size, nested] = key.split('.')
      const x = await read(`${weight}.${dtype}`)
      const [blockSize, blocks] = [Number(size), Math.ceil(x.length / Number(size))]
      const codes = new Uint8Array(x.length)
      const scale = new Float32Array(blocks)
      const codebook = (await read(`${kind}.map`)) as Float32Array
      quantizeCodebook(x, dtypes[dtype as FloatDType].code, codebook, codes, scale, x.length, blockSize)
      assert.deepEqual(codes, unpack(await read(`${key}.packed`), x.length))
      if (!nested) return assert.deepEqual(scale, await read(`${key}.absmax`))
      const [scaleCodes, values, offset] = [
        new Uint8Array(blocks),
        new Float32Array(Math.ceil(blocks / 256)),
        new Float32Array(1),
      ]
      nestScale(scale, dynamicMap(), scaleCodes, values, offset, blocks, 256)
      assert.deepEqual(values, await read(`${key}.nested_absmax`))
      assert.deepEqual(scaleCodes, await read(`${key}.absmax`))
      const state = JSON.parse(
        Buffer.from((await read(`${key}.quant_state.bitsandbytes__${kind}`)) as Uint8Array).toString(),
      )
      assert.equal(offset[0], state.nested_offset)
    })
  }
})
