import assert from 'node:assert/strict'
import { after } from 'node:test'
import { load } from '../../src/checkpoints/load.ts'
import { viewAs } from '../../src/core/dtype.ts'
import { FormatError } from '../../src/core/errors.ts'
import type { Device } from '../../src/devices/device.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { writeSafetensors } from '../../src/formats/safetensorsWriter.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import type { TensorInfo, TensorToWrite } from '../../src/formats/tensorFile.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { golden } from '../golden.ts'
import { testOnDevices } from '../tensor/devices.ts'

/*
 * AWQ's layouts as AutoAWQ's packers, GPTQModel's and llm-awq's own code wrote them
 * (scripts/make-awq-fixtures.py).
 */

const fixtures = await openSafetensors(await diskFolder(golden).open('awq.safetensors'))
after(() => fixtures.close())

class Net extends Module {
  fc: Linear
  constructor(inputs: number, outputs: number) {
    super()
    this.fc = new Linear(inputs, outputs, { bias: false })
  }
}

/** The tensors of a case as those of the layer `fc`. */
function tensorsOf(name: string): TensorToWrite[] {
  return [...fixtures.tensors]
    .filter(([key]) => key.startsWith(`${name}/`) && !key.endsWith('/dequantized'))
    .map(([key, { dtype, shape }]) => {
      return { name: `fc.${key.slice(name.length + 1)}`, dtype, shape, bytes: () => fixtures.read(key) }
    })
}

async function folderOf(file: string, settings: object, tensors: readonly TensorToWrite[]) {
  const chunks: Uint8Array[] = []
  const sink = { write: async (bytes: Uint8Array) => void chunks.push(bytes.slice()) }
  await writeSafetensors(sink, tensors)
  const json = new TextEncoder().encode(JSON.stringify(settings))
  return memoryFolder(
    new Map([
      ['model.safetensors', Buffer.concat(chunks)],
      [file, json],
    ]),
    'model',
  )
}

/** Each case, its settings, and the file in which they stand. */
const own = 'quant_config.json'
const cases: Record<string, [settings: object, file?: string]> = {
  'gemm-32': [{ quant_method: 'awq', bits: 4, group_size: 32, zero_point: true, version: 'GEMM' }],
  'gemm-row': [{ w_bit: 4, q_group_size: -1, zero_point: true, version: 'GEMM' }, own],
  'gemm-symmetric': [
    { quant_method: 'awq', bits: 4, group_size: 64, sym: true, zero_point: false, checkpoint_format: 'gemm' },
    'quantize_config.json',
  ],
  'gemv-32': [{ w_bit: 4, q_group_size: 32, zero_point: true, version: 'GEMV' }, own],
  'gemv-64': [{ quant_method: 'awq', bits: 4, group_size: 64, version: 'gemv' }],
  'gemv-128': [{ quant_method: 'awq', version: 'gemv' }],
  'gemv_fast-32': [{ quant_method: 'awq', bits: 4, group_size: 32, format: 'gemv_fast' }],
  'gemv_fast-row': [{ w_bit: 4, q_group_size: -1, version: 'gemv_fast' }, own],
  'llm-awq-64': [{ quant_method: 'awq', bits: 4, group_size: 64, format: 'llm-awq' }],
  'llm-awq-bfloat16': [{ quant_method: 'awq', bits: 4, backend: 'llm-awq', version: 'gemv' }],
}

async function loadCase(device: Device, name: string, changed: object = {}, tensors = tensorsOf(name)) {
  const [settings, file] = cases[name]
  const [outputs, inputs] = (fixtures.tensors.get(`${name}/dequantized`) as TensorInfo).shape
  const all = { ...settings, ...changed }
  const folder = file
    ? await folderOf(file, all, tensors)
    : await folderOf('config.json', { quantization_config: all }, tensors)
  return load(new Net(inputs, outputs), folder, { device })
}

testOnDevices("every layout holds its packers' weights", async (device) => {
  for (const name of Object.keys(cases)) {
    const net = await loadCase(device, name)
    const weight = net.fc.weight as unknown as QTensor
    assert.ok(weight instanceof QTensor, name)
    using float = weight.dequantize()
    const theirs = viewAs('float32', await fixtures.read(`${name}/dequantized`))
    assert.deepEqual(await float.toNumbers(), theirs, name)
    // A product takes the same weight: of the identity it is its transpose.
    const columns = weight.shape[1]
    const identity = Float32Array.from({ length: columns ** 2 }, (_, i) => Number(i % (columns + 1) === 0))
    using x = Tensor.fromArray(device, identity, [columns, columns])
    using y = net.fc.forward(x)
    const product = await y.toNumbers()
    const transposed = Float32Array.from(product, (_, at) => {
      const [o, i] = [Math.floor(at / columns), at % columns]
      return product[i * weight.shape[0] + o]
    })
    assert.deepEqual(transposed, theirs, name)
    net.dispose()
  }
  assert.equal(device.allocatedBytes, 0)
})

testOnDevices('of symmetric weights one zero point is held, and may be left out', async (device) => {
  for (const tensors of [
    tensorsOf('gemm-symmetric'),
    tensorsOf('gemm-symmetric').filter(({ name }) => name !== 'fc.qzeros'),
  ]) {
    const net = await loadCase(device, 'gemm-symmetric', {}, tensors)
    const weight = net.fc.weight as unknown as QTensor
    assert.ok(weight.heldOffset && 'value' in weight.heldOffset && weight.heldOffset.value === 8)
    using float = weight.dequantize()
    assert.deepEqual(
      await float.toNumbers(),
      viewAs('float32', await fixtures.read('gemm-symmetric/dequantized')),
    )
    net.dispose()
  }
})

testOnDevices("llm-awq's older files are as gemv's", async (device) => {
  const net = await loadCase(device, 'gemv-64', { format: 'llm-awq', version: undefined })
  using float = (net.fc.weight as unknown as QTensor).dequantize()
  assert.deepEqual(await float.toNumbers(), viewAs('float32', await fixtures.read('gemv-64/dequantized')))
  net.dispose()
})

const bad: Record<string, { of: string; changed?: object; without?: string; says: RegExp }> = {
  'bits that AWQ has not': {
    of: 'gemm-row',
    changed: { w_bit: 8 },
    says: /quant_config\.json: w_bit must be 4, as AWQ's packings are; received 8/,
  },
  'a version of one GPU kernel': {
    of: 'gemm-32',
    changed: { version: 'marlin' },
    says: /version must be gemm, gemv, gemv_fast or llm-awq; of marlin, it is laid out for one GPU kernel's tiles; received "marlin"/,
  },
  'a version that nobody knows': {
    of: 'gemm-32',
    changed: { version: 'toString' },
    says: /version must be gemm, gemv, gemv_fast or llm-awq; received "toString"/,
  },
  'groups of another file': {
    of: 'gemm-32',
    changed: { group_size: 64 },
    says: /fc\.scales must be float16, bfloat16 or float32 \[2,64\]; it is float16 \[3,64\]/,
  },
  'groups of no size': {
    of: 'gemm-32',
    changed: { group_size: 0.5 },
    says: /group_size must be -1 or a whole/,
  },
  'another layout': {
    of: 'gemv-64',
    changed: { version: 'gemm' },
    says: /fc\.qweight must be int32 \[320,2\]; it is int32 \[16,40\]/,
  },
  'a layer that is to be a float': {
    of: 'gemm-32',
    changed: { modules_to_not_convert: ['fc'] },
    says: /fc\.qweight must be a float, as modules_to_not_convert says; it is quantized/,
  },
  'settings of single layers': {
    of: 'gemm-32',
    changed: { dynamic: { fc: { bits: 4 } } },
    says: /dynamic must be absent/,
  },
  'zero points that are missing': { of: 'gemm-32', without: 'fc.qzeros', says: /fc\.qzeros is missing/ },
  'scaled zeros that are missing': {
    of: 'llm-awq-64',
    without: 'fc.scaled_zeros',
    says: /fc\.scaled_zeros is missing/,
  },
}

testOnDevices('bad input: one sentence, and the model stays as it was', async (device) => {
  for (const [name, { of, changed, without, says }] of Object.entries(bad)) {
    const tensors = tensorsOf(of).filter((tensor) => tensor.name !== without)
    await assert.rejects(loadCase(device, of, changed, tensors), (error) => {
      assert.ok(error instanceof FormatError, name)
      assert.match(error.message, says, name)
      assert.doesNotMatch(error.message, /\n/)
      return true
    })
  }
  assert.equal(device.allocatedBytes, 0)
})
