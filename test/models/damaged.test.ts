import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { type Folder, memoryFolder } from '../../src/formats/source.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { verify } from '../../src/models/verify.ts'
import { QWeightModule } from '../../src/nn/qmodule.ts'
import { golden } from '../golden.ts'

/*
 * Files of the Python libraries with one value changed to what the format has no number for, or to another
 * setting.
 */

const device = openDevice('cpu', { threads: 2 })
after(async () => {
  assert.equal(device.allocatedBytes, 0)
  await device.close()
})

interface Header {
  __metadata__?: Record<string, string>
  [name: string]: unknown
}

/** A golden folder whose safetensors were changed. */
function changed(id: string, change: (header: Header, data: Buffer) => void): Folder {
  const folder = join(golden, 'stories260K', id)
  const file = readFileSync(join(folder, 'model.safetensors'))
  const dataStart = 8 + Number(file.readBigUInt64LE())
  const header: Header = JSON.parse(file.toString('utf8', 8, dataStart))
  const data = file.subarray(dataStart)
  change(header, data)
  const text = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  const files = new Map<string, Uint8Array>([['model.safetensors', Buffer.concat([length, text, data])]])
  for (const name of ['config.json', 'tokenizer.json', 'quanto_qmap.json'])
    try {
      files.set(name, readFileSync(join(folder, name)))
    } catch {
      // Not all have all.
    }
  return memoryFolder(files)
}

const q = 'model.layers.1.self_attn.q_proj'
const numbers = 'must hold finite numbers; value 5 is NaN or infinite'
const fifth = (byte: number) => (bytes: Buffer) => void bytes.writeUInt8(byte, 5)

const cases: [id: string, tensor: string, change: (bytes: Buffer) => void, says: string][] = [
  ['mlx-mxfp4', `${q}.scales`, fifth(0xff), numbers],
  ['torchao-mixed', 'model.layers.2.self_attn.q_proj._weight_scale', fifth(0xff), numbers],
  ['torchao-mixed', 'model.layers.3.self_attn.k_proj._weight_scale', fifth(0x7f), numbers],
  ['torchao-float8wo', `${q}._weight_qdata`, fifth(0xff), numbers],
  ['fp8-finegrained-b32', `${q}.weight`, fifth(0x7f), numbers],
  ['ct-fp8', `${q}.weight`, fifth(0x7f), numbers],
  [
    'bitnet-packed',
    `${q}.weight_scale`,
    (bytes) => void bytes.writeFloatLE(0),
    'must make scales that are finite; that of block 0 is NaN or infinite',
  ],
  // The least float32 above 0; 1 divided by it is no float32.
  [
    'bitnet-packed',
    `${q}.weight_scale`,
    (bytes) => void bytes.writeUInt32LE(1),
    'must make scales that are finite; that of block 0 is NaN or infinite',
  ],
  ['torchao-8da4w', `${q}._weight_qdata`, fifth(100), 'must hold codes from -8 to 7; value 5 is another'],
  ['torchao-8da4w', `${q}._weight_qdata`, fifth(0xf7), 'must hold codes from -8 to 7; value 5 is another'],
  ['torchao-8da4w', `${q}._weight_zero_point`, fifth(8), 'must hold codes from -8 to 7; value 5 is another'],
  ['torchao-int8wo', `${q}._weight_zero_point`, fifth(1), 'must be 0 throughout; value 5 is another'],
  [
    'hqq-mixed',
    'model.layers.1.mlp.up_proj.W_q',
    fifth(32),
    'must hold codes from 0 to 31; value 5 is another',
  ],
]

for (const [id, tensor, change, says] of cases)
  test(`${id}: ${tensor} ${says}`, async () => {
    const folder = changed(id, (header, data) => {
      const [start, end] = (header[tensor] as { data_offsets: [number, number] }).data_offsets
      change(data.subarray(start, end))
    })
    const message = `memory/model.safetensors: ${tensor} ${says}`
    await assert.rejects(loadCausalLM(folder, { device, onWarning() {} }), { name: 'FormatError', message })
    const { sound, findings } = await verify(folder, { device })
    assert.equal(sound, false)
    assert.deepEqual(
      findings.flatMap(({ unsound, finding }) => (unsound ? [finding] : [])),
      [message],
    )
  })

test('float8 of quanto, which writes NaN for rows of zeros, is loaded; verify tells', async () => {
  const folder = changed('quanto-qfloat8', (header, data) => {
    const { data_offsets } = header[`${q}.weight._data`] as { data_offsets: [number, number] }
    data.writeUInt8(0x7f, data_offsets[0] + 5)
  })
  const model = await loadCausalLM(folder, { device })
  model.dispose()
  const { findings } = await verify(folder, { device })
  assert.deepEqual(findings, [
    {
      tensor: `${q}.weight`,
      unsound: true,
      finding: 'its codes must be finite numbers; that of value 5 is NaN or infinite',
    },
  ])
})

test('inputs that torchao rounds to float8 of another kind stay floats, and a warning says so', async () => {
  // As torchao's Float8DynamicActivationFloat8WeightConfig has it.
  for (const kind of ['float8_e4m3fn', 'float8_e5m2']) {
    const inputs = {
      _type: 'QuantizeTensorToFloat8Kwargs',
      _data: {
        float8_dtype: { _type: 'torch.dtype', _data: kind },
        granularity: { _type: 'PerRow', _version: 1, _data: { dim: -1 } },
      },
    }
    const folder = changed('torchao-float8wo', ({ __metadata__: texts = {} }) => {
      const key = `${q}.weight`
      texts[key] = texts[key].replace(
        '"act_quant_kwargs": null',
        `"act_quant_kwargs": ${JSON.stringify(inputs)}`,
      )
    })
    const warnings: string[] = []
    using model = await loadCausalLM(folder, { device, onWarning: (text) => void warnings.push(text) })
    const layer = model.getModule(q)
    assert.ok(layer instanceof QWeightModule)
    const known = kind === 'float8_e4m3fn'
    assert.equal(layer.computeDtype, known ? 'float8PerToken' : null)
    assert.deepEqual(
      warnings,
      known
        ? []
        : ['load: torchao rounds what some layers take to "float8_e5m2"; lowbit computes them with floats'],
    )
  }
})
