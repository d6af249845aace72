import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, test } from 'node:test'
import { awq, gptq, type LoadOptions, loadCausalLM, openDevice, quantizeCalibrated } from '../../src/index.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'

/* GPTQ and AWQ while a model is loaded, in the words of transformers' configs. */

const stories = 'models/stories260K'
const device = openDevice('cpu')
after(() => device.close())
const text = readFileSync('models/tinystories.txt', 'utf8')
const texts = Array.from({ length: 6 }, (_, i) => text.slice(200 * i, 200 * i + 200))

async function loaded(quantization: LoadOptions['quantization']): Promise<[CausalLM, string[]]> {
  const warnings: string[] = []
  const onWarning = (message: string) => void warnings.push(message)
  return [await loadCausalLM(stories, { device, quantization, onWarning }), warnings]
}

async function codesOf(model: CausalLM): Promise<Map<string, string>> {
  const codes = new Map<string, string>()
  for (const [path, weight] of model.namedTensors()) {
    if (!(weight instanceof QTensor)) continue
    using own = weight.codes()
    codes.set(path, Buffer.from(await own.readBytes()).toString('hex'))
  }
  return codes
}

test('gptq gives what quantizeCalibrated does, with transformers’ defaults and either spelling', async () => {
  const float = await loadCausalLM(stories, { device })
  await quantizeCalibrated(float, {
    algorithm: gptq({ bits: 4, groupSize: 32, dampPercent: 0.1, actOrder: 'group-aware' }),
    ...{ data: texts, packing: false, include: 'model.layers.*', exclude: ['*.up_proj', '*.v_proj'] },
  })
  const expected = await codesOf(float)
  assert.equal(expected.size, 5 * 5)
  const [model, warnings] = await loaded({
    ...{ method: 'gptq', bits: 4, groupSize: 32, dataset: texts, exclude: ['*.up_proj', '*.v_proj'] },
    onProgress: ({ blocks }) => assert.equal(blocks, 5),
  })
  assert.deepEqual(await codesOf(model), expected)
  assert.deepEqual(warnings, [])
  const [python, told] = await loaded({
    ...{ method: 'gptq', bits: 4, group_size: 32, dataset: texts, sym: true, desc_act: false },
    ...{ damp_percent: 0.1, true_sequential: true, block_name_to_quantize: 'model.layers', batch_size: 1 },
    modules_in_block_to_quantize: [
      ['self_attn.q_proj', 'self_attn.k_proj'],
      ['self_attn.o_proj'],
      ['mlp.gate_proj'],
      ['mlp.down_proj'],
    ],
    ...{ use_exllama: true, exllama_config: { version: 2 } },
  })
  assert.deepEqual(await codesOf(python), expected)
  assert.match(
    told.join(),
    /^loadCausalLM: quantization: useExllama, exllamaConfig, batchSize say which kernels and buffers Python takes; here one kernel reads all of these codes, and they change nothing$/,
  )
})

test('awq gives what quantizeCalibrated does, in the words of AwqConfig and of AutoAWQ', async () => {
  const float = await loadCausalLM(stories, { device })
  await quantizeCalibrated(float, {
    algorithm: awq({ bits: 4, groupSize: 32 }),
    ...{ data: texts, samples: 3, length: 64, include: 'model.layers.*', exclude: '*down_proj*' },
  })
  const expected = await codesOf(float)
  assert.equal(expected.size, 6 * 5)
  const [model] = await loaded({
    ...{ method: 'awq', groupSize: 32, dataset: texts, samples: 3, length: 64, zeroPoint: true },
    modulesToNotConvert: ['down_proj'],
  })
  assert.deepEqual(await codesOf(model), expected)
  const [python] = await loaded({
    ...{ method: 'awq', w_bit: 4, q_group_size: 32, zero_point: true, version: 'gemm' },
    ...{ calib_data: texts, max_calib_samples: 3, max_calib_seq_len: 64 },
    modules_to_not_convert: ['down_proj'],
  })
  assert.deepEqual(await codesOf(python), expected)
})

const refusals: [quantization: object, message: RegExp][] = [
  [
    { method: 'gptq', bits: 4 },
    /quantization: dataset must be wikitext2, c4, pileval, a file or a list of texts; received nothing$/,
  ],
  [{ method: 'gptq', dataset: texts }, /quantization: bits must be 2, 3, 4 or 8; received nothing$/],
  [{ method: 'gptq', bits: 5, dataset: texts }, /bits must be 2, 3, 4 or 8; received 5$/],
  [
    { method: 'gptq', bits: 4, dataset: texts, descact: true },
    /unknown option "descact"; did you mean "descAct"\?$/,
  ],
  [
    { method: 'gptq', bits: 4, dataset: texts, group_size: 32, groupSize: 32 },
    /groupSize must be given once; received (group_size|groupSize), too$/,
  ],
  [
    { method: 'awq', dataset: texts, version: 'marlin' },
    /version must be gemm, gemv, gemv_fast or llm-awq; received "marlin"$/,
  ],
  [{ method: 'awq', dataset: [] }, /data must hold a sample; it has none$/],
  [
    { method: 'gptqq', bits: 4 },
    /quantization\.method must be "quanto", "bitsandbytes", "gptq" or "awq"; received "gptqq"$/,
  ],
]
for (const [quantization, message] of refusals)
  test(`refused: ${message.source}`, async () => {
    await assert.rejects(loaded(quantization as LoadOptions['quantization']), { message })
  })
