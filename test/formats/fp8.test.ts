import assert from 'node:assert/strict'
import { join } from 'node:path'
import { load } from '../../src/checkpoints/load.ts'
import { save } from '../../src/checkpoints/save.ts'
import { FormatError } from '../../src/core/errors.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { QLinear } from '../../src/nn/qlinear.ts'
import { golden } from '../golden.ts'
import { testOnDevices } from '../tensor/devices.ts'
import { folderOf, type Tensors } from './compressedCases.ts'

/* Fine-grained float8 and FBGEMM's, worked by hand: of e4m3fn 0x38 is 1, 0x40 is 2, 0x44 is 3, 0xc0 is −2. */

class Net extends Module {
  fc = new Linear(3, 2, { bias: false })
}

const codes = {
  dtype: 'float8_e4m3fn',
  shape: [2, 3],
  bytes: Uint8Array.of(0x38, 0x40, 0x44, 0xc0, 0x38, 0x40),
}
const floats = (shape: number[], values: number[]): Tensors[string] => {
  return { dtype: 'float32', shape, bytes: new Uint8Array(Float32Array.from(values).buffer) }
}
const weight = codes as Tensors[string]
const fine = { quant_method: 'fp8', activation_scheme: 'dynamic', weight_block_size: [1, 2] }

interface Case {
  config: object
  scale: Tensors
  /** What the weights are. */
  floats: number[]
  computeDtype?: string
}

const cases: Record<string, Case> = {
  'tiles, the last cut off': {
    config: fine,
    scale: { 'fc.weight_scale_inv': floats([2, 2], [0.5, 4, 0.25, 8]) },
    floats: [0.5, 1, 12, -0.5, 0.25, 16],
  },
  'one scale for all': {
    config: { ...fine, weight_block_size: null },
    scale: { 'fc.weight_scale_inv': floats([], [0.5]) },
    floats: [0.5, 1, 1.5, -1, 0.5, 1],
  },
  'powers of two': {
    config: { ...fine, scale_fmt: 'ue8m0', weight_block_size: [2, 2] },
    scale: { 'fc.weight_scale_inv': { dtype: 'uint8', shape: [1, 2], bytes: Uint8Array.of(128, 125) } },
    floats: [2, 4, 0.75, -4, 2, 0.5],
  },
  'scales as Qwen has them, bfloat16': {
    config: { ...fine, weight_block_size: [2, 2] },
    // 0.5 and 4.
    scale: {
      'fc.weight_scale_inv': {
        dtype: 'bfloat16',
        shape: [1, 2],
        bytes: new Uint8Array(Uint16Array.of(0x3f00, 0x4080).buffer),
      },
    },
    floats: [0.5, 1, 12, -1, 0.5, 8],
  },
  'scales of float16': {
    config: { ...fine, weight_block_size: [2, 2] },
    scale: {
      'fc.weight_scale_inv': {
        dtype: 'float16',
        shape: [1, 2],
        bytes: new Uint8Array(Uint16Array.of(0x3800, 0x4400).buffer),
      },
    },
    floats: [0.5, 1, 12, -1, 0.5, 8],
  },
  'FBGEMM’s rows': {
    config: { quant_method: 'fbgemm_fp8' },
    scale: { 'fc.weight_scale': floats([2, 1], [0.5, 2]) },
    floats: [0.5, 1, 1.5, -4, 2, 4],
    computeDtype: 'float8PerToken',
  },
}

testOnDevices('codes times the scale of their tile or row', async (device) => {
  for (const [name, { config, scale, floats: expected, computeDtype }] of Object.entries(cases)) {
    const warnings: string[] = []
    const folder = await folderOf(config, { 'fc.weight': weight, ...scale })
    const net = await load(new Net(), folder, { device, onWarning: (text) => void warnings.push(text) })
    assert.equal(warnings.length, 1, name)
    assert.ok(net.fc instanceof QLinear, name)
    assert.equal(net.fc.computeDtype, computeDtype ?? null, name)
    using ours = net.getParameter('fc.weight').dequantize()
    assert.deepEqual(Array.from(await ours.toNumbers()), expected, name)
    net.dispose()
  }
})

testOnDevices('bad input: one sentence', async (device) => {
  const scale = { 'fc.weight_scale_inv': floats([2, 2], [1, 1, 1, 1]) }
  const bad: [object, Tensors, RegExp][] = [
    [
      { activation_scheme: 'none' },
      scale,
      /activation_scheme must be "dynamic" or "static"; received "none"/,
    ],
    [{ scale_fmt: 'bf16' }, scale, /scale_fmt must be "float" or "ue8m0"; received "bf16"/],
    [{ expert_dtype: 'fp4' }, scale, /expert_dtype must be "fp8"; received "fp4"/],
    [{ weight_block_size: [2] }, scale, /weight_block_size must be two whole numbers from 1 up/],
    [
      { weight_block_size: [2, 2] },
      scale,
      /fc\.weight_scale_inv must be float32, bfloat16 or float16 \[1,2\]; it is float32 \[2,2\]/,
    ],
    [{ modules_to_not_convert: ['fc'] }, scale, /fc\.weight_scale_inv must be of a layer that is quantized/],
    [{ modules_to_not_convert: ['('] }, scale, /modules_to_not_convert/],
    [{ modules_to_not_convert: ['head\\Z'] }, scale, /modules_to_not_convert must have names or regular/],
    [{ modules_to_not_convert: ['(?P<x>head)'] }, scale, /modules_to_not_convert must have names or regular/],
    [{}, {}, /fc\.weight_scale_inv is missing/],
  ]
  for (const [config, parts, says] of bad) {
    const folder = await folderOf({ ...fine, ...config }, { 'fc.weight': weight, ...parts })
    await assert.rejects(load(new Net(), folder, { device, onWarning() {} }), (error) => {
      assert.ok(error instanceof FormatError, String(error))
      assert.match(error.message, says)
      assert.doesNotMatch(error.message, /\n/)
      return true
    })
  }
})

testOnDevices('a folder is written as it was', async (device) => {
  const place = diskFolder(join(golden, 'stories260K/fp8-finegrained-b32'))
  using model = await loadCausalLM(place, { device, onWarning() {} })
  const files = new Map<string, Uint8Array>()
  await save(model, memoryFolder(files), { format: 'fp8' })
  const theirs = await openSafetensors(await place.open('model.safetensors'))
  const ours = await openSafetensors(await memoryFolder(files).open('model.safetensors'))
  assert.deepEqual([...ours.tensors.keys()].sort(), [...theirs.tensors.keys()].sort())
  for (const [name, { dtype, shape }] of theirs.tensors) {
    const stored = ours.tensors.get(name)
    assert.deepEqual([stored?.dtype, stored?.shape], [dtype, shape], name)
    assert.ok(Buffer.from(await ours.read(name)).equals(await theirs.read(name)), name)
  }
  const text = files.get('config.json') ?? new Uint8Array()
  const settings = JSON.parse(Buffer.from(text).toString()).quantization_config
  assert.deepEqual(settings.weight_block_size, [32, 32])
  assert.ok(settings.modules_to_not_convert.includes('lm_head'))
  await theirs.close()
})
