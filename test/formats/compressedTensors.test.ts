import assert from 'node:assert/strict'
import { test } from 'node:test'
import { load } from '../../src/checkpoints/load.ts'
import { FormatError } from '../../src/core/errors.ts'
import { targetMatcher } from '../../src/formats/schemes/compressedTensorsTargets.ts'
import { Linear } from '../../src/nn/linear.ts'
import { testOnDevices } from '../tensor/devices.ts'
import {
  cases,
  folderOf,
  layers,
  loadCase,
  Net,
  settingsOf,
  type Tensors,
  tensorsOf,
} from './compressedCases.ts'

/*
 * Every format, type and strategy beside what compressed-tensors 0.20 compressed and decompressed
 * (scripts/make-compressed-tensors-fixtures.py), and what is refused.
 */

testOnDevices('every format gives the floats that the library decompresses', async (device) => {
  for (const name of Object.keys(cases)) {
    const { net, weight } = await loadCase(name, device)
    using floats = weight.dequantize()
    const theirs = layers.get(`${name}.decompressed`)
    assert.equal(floats.dtype, theirs?.dtype, name)
    const ours = Buffer.from(await floats.readBytes())
    assert.ok(ours.equals(theirs?.bytes ?? Buffer.alloc(0)), name)
    net.dispose()
  }
})

testOnDevices('folders that say frozen hold codes, too', async (device) => {
  const place = await folderOf(settingsOf('w4', { quantization_status: 'frozen' }), tensorsOf('w4'))
  const net = await load(new Net(), place, { device })
  using floats = net.getParameter('fc.weight').dequantize()
  const theirs = layers.get('w4.decompressed')?.bytes ?? assert.fail()
  assert.ok(Buffer.from(await floats.readBytes()).equals(theirs))
  net.dispose()
})

test('layers are matched by path, then pattern, then class', () => {
  const targets = ['Linear', 're:.*mlp', 're:.*down', 'model.0.mlp.down', 're:lm_head'].map((text) => {
    return { text, value: text }
  })
  const match = targetMatcher(targets, () => new Error('no pattern') as FormatError)
  assert.equal(match('model.0.mlp.down', 'Linear'), 'model.0.mlp.down')
  // Of two patterns the first in the order of characters; a pattern need not reach the end.
  assert.equal(match('model.1.mlp.down', 'Linear'), 're:.*down')
  assert.equal(match('model.1.mlp.up', 'Linear'), 're:.*mlp')
  assert.equal(match('model.1.attention', 'Linear'), 'Linear')
  assert.equal(match('model.lm_head', 'Embedding'), undefined)
  assert.equal(match('lm_head', 'Embedding'), 're:lm_head')
  assert.equal(
    targetMatcher([{ text: 'Module', value: 1 }], () => new Error() as FormatError)('a', 'Linear'),
    1,
  )
})

interface BadCase {
  name?: string
  more?: object
  group?: object
  weights?: object
  tensors?: (tensors: Tensors) => Partial<Tensors>
  says: RegExp
}

const ints = (values: readonly number[]) => new Uint8Array(Int32Array.from(values).buffer)

const badCases: Record<string, BadCase> = {
  bits: {
    weights: { num_bits: 9 },
    says: /weights\.num_bits must be from 1 to 8 in the format pack-quantized; received 9/,
  },
  type: {
    weights: { type: 'float' },
    says: /weights\.type must be int in the format pack-quantized; received "float"/,
  },
  'unknown type': {
    weights: { type: 'posit' },
    says: /weights\.type must be int or float; received "posit"/,
  },
  strategy: {
    weights: { strategy: 'diagonal' },
    says: /weights\.strategy must be one of tensor, channel, group/,
  },
  'strategy of the format': {
    weights: { strategy: 'token' },
    says: /weights\.strategy must be tensor, channel, group in the format pack-quantized; received "token"/,
  },
  'no group size': {
    weights: { group_size: null },
    says: /weights\.group_size must be a whole number from 1 up, with the strategy group; received null/,
  },
  'dynamic weights': {
    weights: { dynamic: true },
    says: /weights\.dynamic must be false of weights; received true/,
  },
  'a block of three': {
    name: 'fp8-block',
    weights: { block_structure: [16, 48, 1] },
    says: /block_structure must be two whole numbers from 1 up, rows and columns; received \[16,48,1\]/,
  },
  format: {
    more: { format: 'marlin-24' },
    says: /format must be one of pack-quantized, int-quantized, .*; received "marlin-24"/,
  },
  status: {
    more: { quantization_status: 'initialized' },
    says: /quantization_status must be "compressed" or "frozen": other weights are stored as floats; received "initialized"/,
  },
  sparsity: {
    more: { sparsity_config: { format: 'sparse-24-bitmask' } },
    says: /sparsity_config\.format must be "dense": sparse weights are not supported; received "sparse-24-bitmask"/,
  },
  'sparse experts': {
    more: { moe_sparsity_config: { layers: {} } },
    says: /moe_sparsity_config must be null: experts without some of their weights are not supported/,
  },
  transforms: {
    more: { transform_config: { config_groups: {} } },
    says: /transform_config must be empty: transforms of weights and inputs are not supported/,
  },
  pattern: {
    more: { ignore: ['re:('] },
    says: /ignore must have regular expressions behind re:; "re:\(" has none/,
  },
  'a float that should not be': {
    tensors: () => ({
      'fc.weight': { dtype: 'float32', shape: [20, 128], bytes: new Uint8Array(4 * 20 * 128) },
    }),
    says: /fc\.weight must be quantized, as .*config_groups\.group_0 says; it is float32/,
  },
  'codes that should be floats': {
    more: { ignore: ['fc'] },
    says: /fc\.weight_scale must be of a layer that config_groups targets, and ignore does not; it is of none/,
  },
  'another shape inside': {
    tensors: ({ 'fc.weight_shape': shape }) => ({
      'fc.weight_shape': { ...shape, dtype: 'int32', bytes: ints([20, 96]) },
    }),
    says: /fc\.weight_shape must be \[20,128\]; it is \[20,96\]/,
  },
  'groups of another size': {
    weights: { group_size: 64 },
    says: /fc\.weight_scale must be float32, float16 or bfloat16 \[20,2\]; it is float32 \[20,4\]/,
  },
  'other bits': {
    weights: { num_bits: 3 },
    says: /fc\.weight_packed must be int32 \[20,12\]; it is int32 \[20,16\]/,
  },
  'no zero points': {
    weights: { symmetric: false },
    says: /fc\.weight_zero_point is missing/,
  },
  'a group of its own': {
    name: 'w4-ordered',
    tensors: () => ({ 'fc.weight_g_idx': { dtype: 'int32', shape: [128], bytes: ints(Array(128).fill(3)) } }),
    says: /fc\.weight_g_idx must put 32 inputs into each group from 0 to 3; input \d+ is in group 3/,
  },
  'a scale that is no number': {
    name: 'mxfp4',
    tensors: ({ 'fc.weight_scale': scale }) => ({
      'fc.weight_scale': { ...scale, bytes: scale.bytes.map(() => 255) },
    }),
    says: /fc\.weight_scale must hold finite numbers; value 0 is NaN or infinite/,
  },
  'a global scale of zero': {
    name: 'nvfp4',
    tensors: ({ 'fc.weight_global_scale': scale }) => ({
      'fc.weight_global_scale': { ...scale, bytes: new Uint8Array(4) },
    }),
    says: /fc\.weight_global_scale must not be 0/,
  },
}

testOnDevices('bad input: one sentence, and the model stays as it was', async (device) => {
  for (const [what, { name = 'w4', more, group, weights, tensors, says }] of Object.entries(badCases)) {
    const settings = settingsOf(name, more, { weights: { ...cases[name].weights, ...weights }, ...group })
    const held = tensorsOf(name)
    const folder = await folderOf(settings, { ...held, ...(tensors?.(held) as Tensors) })
    const net = new Net()
    await assert.rejects(load(net, folder, { device }), (error) => {
      assert.ok(error instanceof FormatError, `${what}: ${error}`)
      assert.match(error.message, says, what)
      assert.doesNotMatch(error.message, /\n/)
      return true
    })
    assert.ok(net.fc instanceof Linear, what)
  }
})

testOnDevices('what is passed over is told', async (device) => {
  const warnings: string[] = []
  const config = settingsOf(
    'w4',
    { kv_cache_scheme: { num_bits: 8, type: 'float', strategy: 'tensor' } },
    { output_activations: { num_bits: 8, dynamic: true, strategy: 'token' } },
  )
  const scale = { dtype: 'float32', shape: [1], bytes: new Uint8Array(4) } as const
  const tensors = { ...tensorsOf('w4'), 'attn.k_scale': scale, 'fc.output_scale': scale }
  using _ = await load(new Net(), await folderOf(config, tensors), {
    device,
    onWarning: (message) => void warnings.push(message),
  })
  assert.deepEqual(warnings, [
    'model/config.json: kv_cache_scheme is passed over; keys and values are kept in floats',
    'model/config.json: quantization_config.config_groups.group_0.output_activations is passed over: outputs stay floats',
  ])
})
