import assert from 'node:assert/strict'
import { test } from 'node:test'
import { detectFile, detectFolder, quantizationSettings } from '../../src/checkpoints/detect.ts'
import { JsonObject } from '../../src/formats/json.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import type { StoredDType, TensorFile } from '../../src/formats/tensorFile.ts'

function fileOf(tensors: Record<string, StoredDType>): TensorFile {
  const infos = Object.entries(tensors).map(([name, dtype]) => {
    return [name, { name, dtype, shape: [32, 32], byteLength: 0, byteOffset: 0 }] as const
  })
  const never = async () => assert.fail('no values are needed')
  return {
    name: 'file',
    tensors: new Map(infos),
    unknown: new Map(),
    read: never,
    readRows: never,
    readBytes: never,
    close: never,
  }
}

const folderOf = (files: Record<string, object>) => {
  const bytes = Object.entries(files).map(([name, json]) => {
    return [name, new TextEncoder().encode(JSON.stringify(json))] as const
  })
  return memoryFolder(new Map(bytes), 'model')
}

const floats = fileOf({ 'fc.weight': 'float32' })
const settings = (json: object) => new JsonObject(json as Record<string, unknown>, 'model/config.json')

test('a folder of floats has no scheme, and neither has a file', async () => {
  assert.deepEqual(await detectFolder(folderOf({}), null, floats), { scheme: 'none', quantized: null })
  assert.deepEqual(await detectFile(floats), { scheme: 'none', quantized: null })
})

test("the scheme is that of config.json, or of a scheme's own file", async () => {
  const gptq = { quant_method: 'gptq', bits: 4, group_size: 32 }
  assert.equal((await detectFolder(folderOf({}), settings(gptq), floats)).scheme, 'gptq')
  assert.equal((await detectFolder(folderOf({ 'quantize_config.json': gptq }), null, floats)).scheme, 'gptq')
  const map = { fc: { weights: 'qint8', activations: 'none' } }
  assert.equal((await detectFolder(folderOf({ 'quanto_qmap.json': map }), null, floats)).scheme, 'quanto')
  assert.equal((await detectFile(fileOf({ 'fc.weight': 'Q4_0' }))).scheme, 'gguf')
})

test('what no scheme takes is refused by the name of its method', async () => {
  await assert.rejects(detectFolder(folderOf({}), settings({ quant_method: 'squeeze' }), floats), {
    name: 'FormatError',
    message:
      /^model\/config\.json: the weights must be floats, or quantized by .* or .*; they are quantized by "squeeze", so take the float model$/,
  })
})

test('tensors of a scheme without its settings are missed, not taken for floats', async () => {
  const quanto = fileOf({ 'fc.weight._data': 'int8', 'fc.weight._scale': 'float32' })
  await assert.rejects(detectFolder(folderOf({}), null, quanto), {
    message:
      'model: must hold quanto_qmap.json, since "fc.weight._scale" was quantized by quanto; there is no such file',
  })
})

test('two schemes at once are refused by their names', async () => {
  const awq = { quant_method: 'awq', bits: 4, group_size: 32, version: 'gemm', zero_point: true }
  const both = folderOf({ 'quanto_qmap.json': { fc: { weights: 'qint8', activations: 'none' } } })
  await assert.rejects(detectFolder(both, settings(awq), floats), {
    name: 'FormatError',
    message:
      'model: must be quantized in one way; config.json says awq, and quanto_qmap.json is there, which is of quanto',
  })
  const map = { fc: { weights: 'qint8', activations: 'none' } }
  const gptq = { bits: 4, group_size: 32, desc_act: false, quant_method: 'gptq' }
  const files = folderOf({ 'quanto_qmap.json': map, 'quantize_config.json': gptq })
  await assert.rejects(
    detectFolder(files, null, floats),
    /^FormatError: model: must be quantized in one way; .*\.json says \w+, and .*\.json is there/,
  )
  // The file that several schemes have is called by them all.
  const shared = folderOf({ 'quantize_config.json': gptq })
  await assert.rejects(detectFolder(shared, settings({ quant_method: 'hqq' }), floats), /of awq, .*gptq/)
  // mlx-lm writes its settings under two names.
  const four = { group_size: 32, bits: 4 }
  const eight = { group_size: 32, bits: 8 }
  const same = quantizationSettings(settings({ quantization: four, quantization_config: { ...four } }))
  assert.equal(same?.get('bits'), 4)
  assert.throws(
    () => quantizationSettings(settings({ quantization: eight, quantization_config: four })),
    /quantization must be what quantization_config is, which is there, too/,
  )
  // AutoAWQ and AutoGPTQ write their settings twice.
  const twice = folderOf({ 'quant_config.json': awq })
  assert.equal((await detectFolder(twice, settings(awq), floats)).scheme, 'awq')
})
