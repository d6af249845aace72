import assert from 'node:assert/strict'
import { cpSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  type Case,
  calibrateOn,
  config,
  evaluateText,
  on,
  qint4,
  root,
  setToken,
  testBadInput,
  write,
} from './badCases.ts'
import { editJson, editTensors, lowbit, stories, text } from './lowbit.ts'

const tokenizers: Case[] = [
  {
    name: 'tokenizer.json is no JSON',
    change: write('tokenizer.json', 'tokens'),
    says: /tokenizer\.json: must be JSON/,
  },
  {
    name: 'tokenizer.json of another kind',
    change: write('tokenizer.json', '{"version":"1.0"}'),
    says: /tokenizer\.json: must be a tokenizer of Hugging Face's format/,
  },
  {
    name: 'a token id as text',
    change: (folder) => setToken(folder, 'seven'),
    says: /tokenizer\.json: the id of "zz" must be a whole number below 16777216; received "seven"/,
  },
  {
    name: 'no tokenizer',
    change: (folder) => rmSync(join(folder, 'tokenizer.json')),
    ...on('generate', 'Once'),
    says: /must hold a tokenizer, .*: tokenizer\.json/,
  },
  { name: 'no chat template', ...on('generate', 'Hello', '--chat'), says: /chat_template/ },
]

const quanto: Case[] = [
  {
    name: 'NaN in a scale',
    model: qint4,
    ...on('generate', 'Once'),
    change: (folder) =>
      editTensors(
        folder,
        (header, data) =>
          void data.writeUInt32LE(0x7fc00000, header['lm_head.weight._scale'].data_offsets[0]),
      ),
    says: /lm_head\.weight\._scale must hold finite numbers; value 0 is NaN or infinite/,
  },
  {
    name: 'infinity in a shift',
    model: qint4,
    ...on('generate', 'Once'),
    change: (folder) =>
      editTensors(
        folder,
        (header, data) =>
          void data.writeUInt32LE(0x7f800000, header['lm_head.weight._shift'].data_offsets[0] + 4),
      ),
    says: /lm_head\.weight\._shift must hold finite numbers; value 1 is NaN or infinite/,
  },
  {
    name: 'a format without the type',
    ...on('quantize', '--weights', 'int8', '--format', 'bitsandbytes', '--out', 'OUT'),
    says: /save: bitsandbytes must be able to hold model\.layers\.0\.self_attn\.q_proj; its int8 is not that of LLM\.int8, which the algorithm llm-int8 makes/,
  },
  {
    name: 'the map names a strange type',
    model: qint4,
    change: (folder) =>
      editJson(folder, 'quanto_qmap.json', (map) =>
        Object.assign(map, { lm_head: { weights: 'qint3', activations: 'none' } }),
      ),
    says: /quanto_qmap\.json: lm_head\.weights must be none, qfloat8 or one of .*; received "qint3"/,
  },
  {
    name: 'the map names a strange module',
    model: qint4,
    change: (folder) =>
      editJson(folder, 'quanto_qmap.json', (map) =>
        Object.assign(map, { 'model.head': { weights: 'qint4', activations: 'none' } }),
      ),
    says: /the layers that are quantized must be those of the model; model\.head is not in the model/,
  },
  {
    name: 'no map',
    model: qint4,
    change: (folder) => rmSync(join(folder, 'quanto_qmap.json')),
    says: /MODEL: must hold quanto_qmap\.json, since ".*_scale" was quantized by quanto/,
  },
]

const calls: Case[] = [
  {
    name: 'glob that matches nothing',
    ...on('quantize', '--weights', 'int8', '--exclude', 'lm_heat', '--out', 'OUT'),
    says: /"lm_heat" must match a module; the nearest are lm_head/,
  },
  {
    name: 'everything excluded',
    ...on('quantize', '--weights', 'int8', '--exclude', '*', '--out', 'OUT'),
    says: /must have a layer to quantize, such as Linear; include and exclude leave none of 36/,
  },
  {
    name: 'group size that does not divide',
    ...on('quantize', '--weights', 'int4', '--group-size', '128', '--out', 'OUT'),
    says: /groupSize \(128\) must divide the columns of .*q_proj \(64\)/,
  },
  {
    name: 'group size of no multiple',
    ...on('quantize', '--weights', 'int4', '--group-size', '48', '--out', 'OUT'),
    says: /groupSize \(48\) must divide the columns of model\.layers\.0\.self_attn\.q_proj \(64\)/,
  },
  {
    name: 'absmax for int4',
    ...on('quantize', '--weights', 'int4', '--algorithm', 'absmax', '--out', 'OUT'),
    says: /absmax: the type must be signed \(int8 or float8\); received qint4/,
  },
  {
    name: 'hqq for int8',
    ...on('quantize', '--weights', 'int8', '--algorithm', 'hqq', '--out', 'OUT'),
    says: /hqq: the type must be unsigned \(int2 or int4\); received qint8/,
  },
  {
    name: 'groups for int8',
    ...on('quantize', '--weights', 'int8', '--group-size', '32', '--out', 'OUT'),
    says: /group/,
  },
  {
    name: 'no such text',
    ...on('evaluate', '--text', '/no/text'),
    says: /\/no\/text: must be a file that can be read; there is none/,
  },
  {
    name: 'a folder for a text',
    ...on('evaluate', '--text', '/tmp'),
    says: /\/tmp: must hold wikitext-2-raw-v1.*there is no such file/,
  },
  { name: 'empty text', ...evaluateText(''), says: /text\.txt: the text must have words; it is empty/ },
  {
    name: 'text that is not UTF-8',
    ...evaluateText(Uint8Array.of(0x68, 0xe9, 0x21)),
    says: /text\.txt: text must be valid UTF-8/,
  },
  {
    name: 'text shorter than a window',
    ...evaluateText('Once upon a time', '--context', '128'),
    says: /must have at least 128 tokens, one window; it has 4 /,
  },
  {
    name: 'context larger than the model',
    ...on('evaluate', '--text', text, '--context', '513'),
    says: /context must be a whole number in 2\.\.512, the model's context; received 513/,
  },
  {
    name: 'stride larger than the context',
    ...on('evaluate', '--text', text, '--context', '64', '--stride', '65'),
    says: /stride must be a whole number in 1\.\.64, the context; received 65/,
  },
  {
    name: 'activations without a text',
    ...on('quantize', '--weights', 'int8', '--activations', 'int8', '--out', 'OUT'),
    says: /--activations TYPE and --calibration FILE go together.*received --activations alone/,
  },
  {
    name: 'a text without activations',
    ...on('quantize', '--weights', 'int8', '--calibration', text, '--out', 'OUT'),
    says: /--activations TYPE and --calibration FILE go together.*received --calibration alone/,
  },
  {
    name: 'calibration on an empty text',
    ...calibrateOn(''),
    says: /text\.txt: the text must have words; it is empty/,
  },
  {
    name: 'calibration on a text shorter than a window',
    ...calibrateOn('Once upon a time'),
    says: /text\.txt: the text must have at least 256 tokens, one window; it has 4$/,
  },
  {
    name: 'a baseline that cannot be read',
    args: (model) => ['inspect', stories, '--baseline', model],
    change: config('num_hidden_layers', 4),
    says: /is not a part of the model/,
  },
  {
    name: 'prompt longer than the context',
    ...on('generate', 'Once upon a time. '.repeat(200)),
    says: /prompt must fit into the model's context of 512 tokens; received 1/,
  },
  {
    name: 'empty prompt without a begin token',
    args: (model) => ['generate', model, ''],
    change: (folder) =>
      editJson(folder, 'tokenizer.json', (json) => Object.assign(json, { post_processor: null })),
    says: /the prompt must have at least one token; received none/,
  },
]

const outputs: Case[] = [
  {
    name: 'output folder holds files',
    ...on('quantize', '--weights', 'int8', '--out', stories),
    says: /models\/stories260K: the folder must be empty or not exist, unless overwrite is set; it holds LICENSE, config.json, generation_config.json, model.safetensors and 2 more$/,
  },
  {
    name: 'output folder holds more than a saved model',
    args: (model) => ['quantize', model, '--weights', 'int8', '--out', model, '--overwrite'],
    says: /save MODEL: overwrite must find the files of a save alone; the folder also holds LICENSE$/,
  },
  {
    name: 'output is a file',
    ...on('quantize', '--weights', 'int8', '--out', text),
    says: /target must be a folder or not exist; it is a file/,
  },
  {
    name: 'output within a file',
    ...on('quantize', '--weights', 'int8', '--out', join(text, 'model')),
    says: /every part of the path must be a folder; one is a file/,
  },
  // Linux's /proc takes no folders, not even from root.
  ...(process.platform === 'linux'
    ? [
        {
          name: 'output nowhere to be written',
          ...on('quantize', '--weights', 'int8', '--out', '/proc/lowbit/model'),
          says: /save \/proc\/lowbit\/model: the folder around it must be one that can be made/,
        },
      ]
    : []),
]

testBadInput({ tokenizers, quanto, calls, outputs })

test('what was there stays as it was when a save is refused', async () => {
  const out = join(root, 'kept')
  cpSync(stories, out, { recursive: true })
  const before = readdirSync(out).map((file) => readFileSync(join(out, file)))
  for (const more of [[], ['--overwrite']])
    assert.equal((await lowbit('quantize', stories, '--weights', 'int8', '--out', out, ...more)).code, 1)
  assert.deepEqual(
    readdirSync(out).map((file) => readFileSync(join(out, file))),
    before,
  )
})
