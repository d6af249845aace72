import assert from 'node:assert/strict'
import { test } from 'node:test'
import { load } from '../../src/checkpoints/load.ts'
import { FormatError } from '../../src/core/errors.ts'
import { encodeFloat } from '../../src/core/halves.ts'
import type { Device } from '../../src/devices/device.ts'
import { writeSafetensors } from '../../src/formats/safetensorsWriter.ts'
import { memoryFolder, readBytes } from '../../src/formats/source.ts'
import type { TensorToWrite } from '../../src/formats/tensorFile.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from '../tensor/devices.ts'

/*
 * GPTQ's words, as its own packers make them: the example of 8 outputs and 16 inputs whose words AutoGPTQ
 * 0.7.1 printed, and the three words in which AutoGPTQ holds 32 codes of 3 bits.
 */

const [out, columns, size] = [8, 16, 8]
const code = (o: number, i: number) => (3 * o + 5 * i) % 16
const zeros = [Array(8).fill(8), [7, 8, 9, 10, 1, 2, 3, 4]]
const scaleOf = (g: number, o: number) => (1 + o + 8 * g) / 64

class Net extends Module {
  fc: Linear
  constructor(inputs = columns, outputs = out) {
    super()
    this.fc = new Linear(inputs, outputs, { bias: false })
  }
}

const int32 = (name: string, shape: number[], values: ArrayLike<number>): TensorToWrite => {
  return {
    name: `fc.${name}`,
    dtype: 'int32',
    shape,
    bytes: () => new Uint8Array(Int32Array.from(values).buffer),
  }
}

const half = (name: string, shape: number[], values: readonly number[]): TensorToWrite => {
  const bits = Uint16Array.from(values, (value) => encodeFloat('float16', value))
  return { name: `fc.${name}`, dtype: 'float16', shape, bytes: () => new Uint8Array(bits.buffer) }
}

/** Word w of output o: its inputs 8w … 8w + 7, the first in the lowest bits. */
const words = (order: readonly number[] = [...Array(columns).keys()]) =>
  Array.from({ length: 2 * out }, (_, at) => {
    const [w, o] = [Math.floor(at / out), at % out]
    return order.slice(8 * w, 8 * w + 8).reduce((word, i, j) => word | (code(o, i) << (4 * j)), 0)
  })

const scales = [0, 1].flatMap((g) => Array.from({ length: out }, (_, o) => scaleOf(g, o)))
const settings = { bits: 4, group_size: size, quant_method: 'gptq', desc_act: false }
const example = {
  qweight: int32('qweight', [2, out], words()),
  qzeros: int32('qzeros', [2, 1], [0x77777777, 0x32109876]),
  scales: half('scales', [2, out], scales),
  g_idx: int32(
    'g_idx',
    [columns],
    Array.from({ length: columns }, (_, i) => Math.floor(i / size)),
  ),
}

async function folderOf(config: object, tensors: Partial<typeof example>) {
  const chunks: Uint8Array[] = []
  await writeSafetensors(
    { write: async (bytes: Uint8Array) => void chunks.push(bytes.slice()) },
    Object.values(tensors),
  )
  const json = new TextEncoder().encode(JSON.stringify(config))
  return memoryFolder(
    new Map([
      ['model.safetensors', Buffer.concat(chunks)],
      ['quantize_config.json', json],
    ]),
    'model',
  )
}

/** The floats of a loaded weight, which are also those that a product takes. */
async function weightOf(
  device: Device,
  config: object,
  tensors: Partial<typeof example>,
): Promise<Float32Array> {
  const net = await load(new Net(), await folderOf(config, tensors), { device })
  assert.ok(net.fc.weight instanceof QTensor)
  using float = (net.fc.weight as unknown as QTensor).dequantize()
  // A product takes the same weight: of the identity it is its transpose.
  const identity = Float32Array.from({ length: columns ** 2 }, (_, i) => Number(i % (columns + 1) === 0))
  using x = Tensor.fromArray(device, identity, [columns, columns])
  using y = (net.fc as Linear).forward(x)
  const [weight, product] = [await float.toNumbers(), await y.toNumbers()]
  for (let o = 0; o < out; o++)
    for (let i = 0; i < columns; i++) assert.equal(product[i * out + o], weight[o * columns + i])
  net.dispose()
  return weight as Float32Array
}

const expected = (groupOf: (i: number) => number) =>
  Float32Array.from({ length: out * columns }, (_, at) => {
    const [o, i] = [Math.floor(at / columns), at % columns]
    return scaleOf(groupOf(i), o) * (code(o, i) - zeros[groupOf(i)][o])
  })

test('the words are those that AutoGPTQ printed', () => {
  assert.deepEqual(words().slice(0, 2), [0x3e94fa50, 0x61c72d83])
})

testOnDevices('zero points less one, and as they are', async (device) => {
  const truth = expected((i) => Math.floor(i / size))
  assert.deepEqual(await weightOf(device, settings, example), truth)
  const { g_idx: _, ...without } = example
  assert.deepEqual(await weightOf(device, settings, without), truth, 'without g_idx')
  const v2 = { ...example, qzeros: int32('qzeros', [2, 1], [0x88888888, 0x4321a987]) }
  assert.deepEqual(await weightOf(device, { ...settings, checkpoint_format: 'gptq_v2' }, v2), truth)
})

testOnDevices('one less of a zero point of 0 was borrowed from the next', async (device) => {
  // 0x000000a0 − 0x11111111 of all, as GPTQModel takes it from a word: zero points 0, 10, 0, 0 …
  const qzeros = int32('qzeros', [2, 1], [0xeeeeef8f, 0x32109876])
  const first = [0, 10, 0, 0, 0, 0, 0, 0]
  const truth = Float32Array.from({ length: out * columns }, (_, at) => {
    const [o, i] = [Math.floor(at / columns), at % columns]
    return scaleOf(Math.floor(i / size), o) * (code(o, i) - (i < size ? first : zeros[1])[o])
  })
  assert.deepEqual(await weightOf(device, settings, { ...example, qzeros }), truth)
})

testOnDevices('settings of single layers: the first pattern that fits a path counts', async (device) => {
  const truth = expected((i) => Math.floor(i / size))
  const dynamic = { '-:c': {}, '+:.*f$': { bits: 3 }, '+:f': { bits: 4, group_size: size }, '-:fc': {} }
  const config = { ...settings, bits: 2, group_size: -1, dynamic }
  assert.deepEqual(await weightOf(device, config, example), truth)
  assert.deepEqual(
    await weightOf(device, { ...settings, dynamic: { fc: { desc_act: true } } }, example),
    truth,
  )
  // Symmetric or not: what the file holds counts.
  assert.deepEqual(await weightOf(device, { ...settings, sym: true, dynamic: false }, example), truth)
})

testOnDevices('symmetric codes of 8 bits are int8', async (device) => {
  const bytes = (o: number, i: number) => (37 * o + 91 * i) % 256
  const words8 = Array.from({ length: 4 * out }, (_, at) => {
    const [w, o] = [Math.floor(at / out), at % out]
    return [0, 1, 2, 3].reduce((word, j) => word | (bytes(o, 4 * w + j) << (8 * j)), 0)
  })
  const tensors = {
    ...example,
    qweight: int32('qweight', [4, out], words8),
    qzeros: int32('qzeros', [2, 2], Array(4).fill(0x7f7f7f7f)),
  }
  const truth = Float32Array.from({ length: out * columns }, (_, at) => {
    const [o, i] = [Math.floor(at / columns), at % columns]
    return scaleOf(Math.floor(i / size), o) * (bytes(o, i) - 128)
  })
  for (const sym of [true, false])
    assert.deepEqual(await weightOf(device, { ...settings, bits: 8, sym }, tensors), truth)
  const net = await load(new Net(), await folderOf({ ...settings, bits: 8, sym: true }, tensors), { device })
  assert.equal(net.fc.weight.toString().split(' ')[1], 'qint8')
  net.dispose()
})

testOnDevices('groups in the order of the columns that were quantized first', async (device) => {
  const groupOf = (i: number) => (i % 3 === 0 || i > 12 ? 0 : 1)
  const ordered = {
    ...example,
    g_idx: int32(
      'g_idx',
      [columns],
      Array.from({ length: columns }, (_, i) => groupOf(i)),
    ),
  }
  assert.deepEqual(await weightOf(device, { ...settings, desc_act: true }, ordered), expected(groupOf))
})

testOnDevices(
  '3 bits: codes and zero points that lie in two words, of any number of outputs',
  async (device) => {
    // 32 codes are a number of 96 bits; code j counts j mod 8, every zero point is 4, and 3 as it is stored.
    const number = (codeAt: (j: number) => number, count: number) => {
      const bits = Array.from({ length: count }, (_, j) => BigInt(codeAt(j)) << BigInt(3 * j)).reduce(
        (a, b) => a | b,
      )
      return Array.from({ length: Math.ceil((3 * count) / 32) }, (_, w) =>
        Number(BigInt.asIntN(32, bits >> BigInt(32 * w))),
      )
    }
    for (const outputs of [32, 48]) {
      const codes = number((j) => j % 8, 32)
      const row = number(() => 3, outputs)
      const tensors = {
        qweight: int32(
          'qweight',
          [6, outputs],
          [...codes, ...codes].flatMap((word) => Array(outputs).fill(word)),
        ),
        qzeros: int32('qzeros', [2, row.length], [...row, ...row]),
        scales: half('scales', [2, outputs], Array(2 * outputs).fill(0.5)),
      }
      const folder = await folderOf({ ...settings, bits: 3, group_size: 32 }, tensors)
      const net = await load(new Net(64, outputs), folder, { device })
      using float = (net.fc.weight as unknown as QTensor).dequantize()
      const weight = await float.toNumbers()
      assert.deepEqual(
        weight,
        Float32Array.from({ length: 64 * outputs }, (_, at) => 0.5 * ((at % 8) - 4)),
      )
      net.dispose()
    }
  },
)

testOnDevices(
  "config.json's own settings count, whatever a second file of its scheme says",
  async (device) => {
    const folder = await folderOf({ ...settings, checkpoint_format: 'gptq_v2' }, example)
    const config = new TextEncoder().encode(JSON.stringify({ quantization_config: settings }))
    const files = new Map([
      ['model.safetensors', await readBytes(folder, 'model.safetensors', 10_000)],
      ['quantize_config.json', await readBytes(folder, 'quantize_config.json', 10_000)],
      ['config.json', config],
    ])
    const net = await load(new Net(), memoryFolder(files, 'model'), { device })
    using float = (net.fc.weight as unknown as QTensor).dequantize()
    assert.deepEqual(
      await float.toNumbers(),
      expected((i) => Math.floor(i / size)),
    )
    net.dispose()
    // Older settings do not name their method.
    files.delete('quantize_config.json')
    const { quant_method: _, ...unnamed } = settings
    files.set('config.json', new TextEncoder().encode(JSON.stringify({ quantization_config: unnamed })))
    const other = await load(new Net(), memoryFolder(files, 'model'), { device })
    assert.ok((other.fc.weight as unknown) instanceof QTensor)
    other.dispose()
  },
)

const nan = half('scales', [2, out], scales.with(3, Number.NaN))
const badCases: Record<string, { config?: object; tensors?: object; says: RegExp }> = {
  'bits that GPTQ has not': {
    config: { bits: 5 },
    says: /quantize_config\.json: bits must be 2, 3, 4 or 8; received 5/,
  },
  'bits of another file': {
    config: { bits: 8 },
    says: /fc\.qweight must be int32 \[4,8\]; it is int32 \[2,8\]/,
  },
  'groups of another file': {
    config: { group_size: 4 },
    says: /fc\.qzeros must be int32 \[4,1\]; it is int32 \[2,1\]/,
  },
  'groups of no size': {
    config: { group_size: 0 },
    says: /group_size must be -1 or a whole number from 1 up; received 0/,
  },
  'another format': {
    config: { checkpoint_format: 'marlin' },
    says: /checkpoint_format must be "gptq" or "gptq_v2"; of marlin, it is laid out for one GPU kernel's tiles; received/,
  },
  'a format that nobody knows': {
    config: { format: 'constructor' },
    says: /format must be "gptq" or "gptq_v2"; received "constructor"/,
  },
  'words of another size': { config: { pack_dtype: 'int16' }, says: /pack_dtype must be "int32"/ },
  'activations that are rotated': { config: { rotation: 'hadamard' }, says: /rotation must be absent/ },
  'bits of a single layer that the file has not': {
    config: { dynamic: { '+:fc': { bits: 8 } } },
    says: /fc\.qweight must be int32 \[4,8\]; it is int32 \[2,8\]/,
  },
  'bits of a single layer that GPTQ has not': {
    config: { dynamic: { '+:fc': { bits: 7 } } },
    says: /quantize_config\.json: dynamic\."\+:fc"\.bits must be 2, 3, 4 or 8; received 7/,
  },
  'a layer that is to be a float': {
    config: { dynamic: { '-:f.': {} } },
    says: /fc\.qweight must be a float, as dynamic says; it is quantized/,
  },
  'a pattern that is none': {
    config: { dynamic: { '+:(fc': {} } },
    says: /dynamic\."\+:\(fc" must stand at a pattern of layers' names/,
  },
  'zero points that are not symmetric, of 8 bits': {
    config: { bits: 8, sym: true, checkpoint_format: 'gptq_v2' },
    tensors: {
      qweight: int32('qweight', [4, out], Array(32).fill(7)),
      qzeros: int32('qzeros', [2, 2], [0, 1, 2, 3]),
    },
    says: /fc\.qzeros must be 128 everywhere, since the settings say that they are symmetric/,
  },
  'a part that is missing': { tensors: { scales: undefined }, says: /fc\.scales is missing/ },
  'a scale that is none': {
    tensors: { scales: nan },
    says: /fc\.scales must hold finite numbers; value 3 is NaN/,
  },
  'an order that is none': {
    tensors: { g_idx: int32('g_idx', [columns], [...Array(9).fill(0), ...Array(7).fill(1)]) },
    says: /fc\.g_idx must put 8 inputs into each group from 0 to 1; input 8 is in group 0/,
  },
  'groups that are not there': {
    tensors: {
      g_idx: int32(
        'g_idx',
        [columns],
        Array.from({ length: columns }, (_, i) => (i < 8 ? 0 : -7)),
      ),
    },
    says: /fc\.g_idx must put 8 inputs into each group from 0 to 1; input 8 is in group -7/,
  },
}

testOnDevices('bad input: one sentence, and the model stays as it was', async (device) => {
  for (const [name, { config, tensors, says }] of Object.entries(badCases)) {
    const net = new Net()
    const parts = Object.entries({ ...example, ...tensors }).filter(([, tensor]) => tensor !== undefined)
    const folder = await folderOf({ ...settings, ...config }, Object.fromEntries(parts))
    await assert.rejects(load(net, folder, { device }), (error) => {
      assert.ok(error instanceof FormatError, name)
      assert.match(error.message, says, name)
      assert.doesNotMatch(error.message, /\n/)
      return true
    })
    assert.ok(net.fc instanceof Linear && net.fc.weight instanceof Tensor, name)
  }
  assert.equal(device.allocatedBytes, 0)
})
