import assert from 'node:assert/strict'
import { cpSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { copyOf, editJson, editTensors, golden, lowbit, stories, temporaryFolder, text } from './lowbit.ts'

/*
 * Whatever is wrong with the input: exit code 1, nothing on stdout, one line on stderr that says what is wrong and where, nothing written.
 */

interface Case {
  name: string
  /** The message must say this. */
  says: RegExp
  /** The arguments; default: quantize the broken model, which reads all of it. */
  args?: (model: string) => string[]
  /** What is done to a copy of `model`. */
  change?: (folder: string) => void
  model?: string
}

const weights = 'model.safetensors'
const first = 'model.embed_tokens.weight'
const qint4 = join(golden, 'quanto-qint4')

const config = (key: string, value: unknown) => (folder: string) =>
  editJson(folder, 'config.json', (json) => Object.assign(json, { [key]: value }))
const write = (file: string, content: string | Uint8Array) => (folder: string) => writeFileSync(join(folder, file), content)
const entry = (change: (entry: { dtype: string; shape: number[]; data_offsets: number[] }, data: Buffer) => void) => (folder: string) =>
  editTensors(folder, (header, data) => {
    change(header[first], data)
  })
const on = (...args: string[]) => ({ args: (model: string) => [args[0], model, ...args.slice(1)] })
const evaluateText = (content: string | Uint8Array, ...args: string[]) => ({
  args: (model: string) => ['evaluate', model, '--text', join(model, 'text.txt'), ...args],
  change: write('text.txt', content),
})

const calibrateOn = (content: string) => ({
  args: (model: string) => {
    const calibration = ['--activations', 'int8', '--calibration', join(model, 'text.txt')]
    return ['quantize', model, '--weights', 'int8', ...calibration, '--out', 'OUT']
  },
  change: write('text.txt', content),
})

const safetensors: Case[] = [
  { name: 'empty', change: write(weights, ''), says: /model\.safetensors: a safetensors file must have at least 8 bytes; it has 0/ },
  { name: 'truncated', change: (folder) => truncateSync(join(folder, weights), 500_000), says: /must lie within the file's 500000 bytes/ },
  {
    name: 'truncated in the header',
    change: (folder) => truncateSync(join(folder, weights), 100),
    says: /header must lie within the file's 100 bytes/,
  },
  {
    name: 'header of 2^63 bytes',
    change: (folder) => {
      const bytes = readFileSync(join(folder, weights))
      bytes.writeBigUInt64LE(2n ** 63n)
      writeFileSync(join(folder, weights), bytes)
    },
    says: /header must have at most 100000000 bytes; its length says 9223372036854775808/,
  },
  { name: 'header is no JSON', change: (folder) => editTensors(folder, () => '{"a":'), says: /model\.safetensors: header: must be JSON/ },
  { name: 'header is a list', change: (folder) => editTensors(folder, () => '[]'), says: /header: the document must be an object/ },
  {
    name: 'header nests 100,000 deep',
    change: (folder) => editTensors(folder, () => '{"a":'.repeat(100_000)),
    says: /must nest at most 64 deep/,
  },
  { name: 'header is not UTF-8', change: (folder) => editTensors(folder, () => Uint8Array.of(0x7b, 0xff, 0x7d)), says: /valid UTF-8/ },
  {
    name: 'a name twice',
    change: (folder) =>
      editTensors(folder, (header) => JSON.stringify(header).replace('{', `{${JSON.stringify(first)}:${JSON.stringify(header[first])},`)),
    says: /a key must appear once; "model\.embed_tokens\.weight" appears twice/,
  },
  {
    name: 'overlapping tensors',
    change: (folder) => editTensors(folder, (header) => void header['model.norm.weight'].data_offsets.splice(0, 2, 0, 256)),
    says: /would overlap the tensor before it/,
  },
  {
    name: 'offsets beyond the end',
    change: entry((it) => it.data_offsets.splice(0, 2, 2 ** 40, 2 ** 40 + 131072)),
    says: /start at byte|lie within/,
  },
  { name: 'offsets backwards', change: entry((it) => it.data_offsets.reverse()), says: /embed_tokens.*data_offsets must be two offsets/ },
  {
    name: 'negative offset',
    change: entry((it) => it.data_offsets.splice(0, 1, -4)),
    says: /data_offsets must be a list of integers, 0 or more/,
  },
  {
    name: 'shape × dtype ≠ bytes',
    change: entry((it) => it.shape.splice(0, 1, 511)),
    says: /must span 130816 bytes, as F32 \[511,64\] needs/,
  },
  { name: 'shape of 2^60 values', change: entry((it) => it.shape.splice(0, 2, 2 ** 30, 2 ** 30)), says: /must span .* bytes/ },
  { name: 'unknown dtype', change: entry((it) => Object.assign(it, { dtype: 'F31' })), says: /dtype must be one of .*; received "F31"/ },
  {
    name: 'dtype of no use here',
    change: entry((it) => Object.assign(it, { dtype: 'I32' })),
    says: /embed_tokens\.weight must be float32, float16 or bfloat16, not int32/,
  },
  {
    name: 'dtype not supported',
    change: entry((it) => Object.assign(it, { dtype: 'U32' })),
    says: /embed_tokens\.weight has dtype U32, which is not supported/,
  },
  {
    name: 'NaN',
    change: entry((_, data) => void data.writeUInt32LE(0x7fc00000, 400)),
    says: /must hold finite numbers; value 100 is NaN or infinite/,
  },
  {
    name: 'infinity',
    change: entry((_, data) => void data.writeUInt32LE(0xff800000, 0)),
    says: /must hold finite numbers; value 0 is NaN or infinite/,
  },
  {
    name: 'a tensor missing',
    change: (folder) => editJsonKey(folder, 'model.norm.weight', 'model.norm.wait'),
    says: /model\.norm\.weight is missing; model\.norm\.wait is not a part of the model/,
  },
  {
    name: 'transposed tensor',
    change: (folder) => editTensors(folder, (header) => void header['model.layers.2.mlp.down_proj.weight'].shape.reverse()),
    says: /model\.layers\.2\.mlp\.down_proj\.weight must be \[64,172\], not \[172,64\]/,
  },
]

const folders: Case[] = [
  {
    name: 'no such folder',
    args: () => ['inspect', '/no/such/folder'],
    says: /\/no\/such\/folder: must be a folder.*there is no such folder/,
  },
  {
    name: 'no such folder that looks like a hub id',
    args: () => ['inspect', 'no/folder'],
    says: /no\/folder: must be a folder that exists; to download it/,
  },
  {
    name: 'a file for a model',
    args: () => ['inspect', text],
    says: /tinystories\.txt: must be a folder in Hugging Face layout, or a \.gguf file; it is another file/,
  },
  {
    name: 'no config.json',
    change: (folder) => rmSync(join(folder, 'config.json')),
    says: /must hold config\.json; there is no such file/,
  },
  { name: 'config.json empty', change: write('config.json', ''), says: /config\.json: must be JSON/ },
  { name: 'config.json truncated', change: write('config.json', '{"architectures": ["Llama'), says: /config\.json: must be JSON/ },
  {
    name: 'config.json not UTF-8',
    change: write('config.json', Uint8Array.of(0x7b, 0xc3, 0x28, 0x7d)),
    says: /config\.json: text must be valid UTF-8/,
  },
  { name: 'config.json a list', change: write('config.json', '[]'), says: /config\.json: the document must be an object/ },
  {
    name: 'no weights',
    change: (folder) => rmSync(join(folder, weights)),
    says: /must hold model\.safetensors or model\.safetensors\.index\.json; it holds/,
  },
  {
    name: 'index names a shard outside',
    change: (folder) => {
      rmSync(join(folder, weights))
      writeFileSync(join(folder, 'model.safetensors.index.json'), '{"weight_map":{"a":"../../../etc/passwd"}}')
    },
    says: /index\.json: a file name must be a plain path inside the folder/,
  },
  {
    name: 'index names a shard that is not there',
    change: (folder) => {
      rmSync(join(folder, weights))
      writeFileSync(join(folder, 'model.safetensors.index.json'), '{"weight_map":{"a":"model-00001-of-00002.safetensors"}}')
    },
    says: /must hold model-00001-of-00002\.safetensors; there is no such file/,
  },
]

const configs: Case[] = [
  {
    name: 'unknown architecture',
    change: config('architectures', ['MambaForCausalLM']),
    says: /architecture must be LlamaForCausalLM.*it is "MambaForCausalLM"/,
  },
  { name: 'quantized by gptq', change: config('quantization_config', { quant_method: 'gptq' }), says: /quantized by "gptq"/ },
  {
    name: 'hidden size of 6,400,000,000',
    change: config('hidden_size', 6.4e9),
    says: /config\.json: hidden_size must be at most 1048576; received 6400000000/,
  },
  { name: '10^9 layers', change: config('num_hidden_layers', 1e9), says: /num_hidden_layers must be at most 4096; received 1000000000/ },
  { name: 'half a layer', change: config('num_hidden_layers', 4.5), says: /num_hidden_layers must be a positive integer; received 4\.5/ },
  { name: 'a size as text', change: config('vocab_size', '512'), says: /vocab_size must be a positive integer; received "512"/ },
  {
    name: 'heads that do not divide',
    change: config('num_key_value_heads', 3),
    says: /num_key_value_heads must divide num_attention_heads \(8\); received 3/,
  },
  {
    name: 'sizes of another model',
    change: config('intermediate_size', 176),
    says: /gate_proj\.weight must be \[176,64\], not \[172,64\]/,
  },
  { name: 'a layer too many', change: config('num_hidden_layers', 6), says: /model\.layers\.5\..* is missing/ },
  { name: 'a layer too few', change: config('num_hidden_layers', 4), says: /model\.layers\.4\..* is not a part of the model/ },
  { name: 'control characters', change: config('architectures', ['\u001b[31mLlama\n']), says: /it is "\\u001b\[31mLlama\\n"/ },
]

const tokenizers: Case[] = [
  { name: 'tokenizer.json is no JSON', change: write('tokenizer.json', 'tokens'), says: /tokenizer\.json: must be JSON/ },
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
    says: /must hold tokenizer\.json/,
  },
  { name: 'no chat template', ...on('generate', 'Hello', '--chat'), says: /chat_template/ },
]

const quanto: Case[] = [
  {
    name: 'NaN in a scale',
    model: qint4,
    ...on('generate', 'Once'),
    change: (folder) =>
      editTensors(folder, (header, data) => void data.writeUInt32LE(0x7fc00000, header['lm_head.weight._scale'].data_offsets[0])),
    says: /lm_head\.weight\._scale must hold finite numbers; value 0 is NaN or infinite/,
  },
  {
    name: 'infinity in a shift',
    model: qint4,
    ...on('generate', 'Once'),
    change: (folder) =>
      editTensors(folder, (header, data) => void data.writeUInt32LE(0x7f800000, header['lm_head.weight._shift'].data_offsets[0] + 4)),
    says: /lm_head\.weight\._shift must hold finite numbers; value 1 is NaN or infinite/,
  },
  { name: 'quantized already', model: qint4, says: /quantize: .*all 36 are quantized already/ },
  {
    name: 'the map names a strange type',
    model: qint4,
    change: (folder) =>
      editJson(folder, 'quanto_qmap.json', (map) => Object.assign(map, { lm_head: { weights: 'qint3', activations: 'none' } })),
    says: /quanto_qmap\.json: lm_head\.weights must be none, qfloat8 or one of .*; received "qint3"/,
  },
  {
    name: 'the map names a strange module',
    model: qint4,
    change: (folder) =>
      editJson(folder, 'quanto_qmap.json', (map) => Object.assign(map, { 'model.head': { weights: 'qint4', activations: 'none' } })),
    says: /the quantization map names model\.head, which the architecture does not have/,
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
    says: /groupSize must be a positive multiple of 32; received 48/,
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
  { name: 'groups for int8', ...on('quantize', '--weights', 'int8', '--group-size', '32', '--out', 'OUT'), says: /group/ },
  { name: 'no such text', ...on('evaluate', '--text', '/no/text'), says: /\/no\/text: must be a file that can be read; there is none/ },
  { name: 'a folder for a text', ...on('evaluate', '--text', '/tmp'), says: /\/tmp: must be a regular file; it is a folder/ },
  { name: 'empty text', ...evaluateText(''), says: /text\.txt: the text must have words; it is empty/ },
  { name: 'text that is not UTF-8', ...evaluateText(Uint8Array.of(0x68, 0xe9, 0x21)), says: /text\.txt: text must be valid UTF-8/ },
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
  { name: 'calibration on an empty text', ...calibrateOn(''), says: /text\.txt: the text must have words; it is empty/ },
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
    change: (folder) => editJson(folder, 'tokenizer.json', (json) => Object.assign(json, { post_processor: null })),
    says: /the prompt must have at least one token; received none/,
  },
]

const outputs: Case[] = [
  {
    name: 'output folder holds files',
    ...on('quantize', '--weights', 'int8', '--out', stories),
    says: /models\/stories260K: the folder must be empty or not exist, unless overwrite is set; it holds \d entries/,
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

const root = temporaryFolder()
let count = 0

/** Without a line break, and with the folders of this run called MODEL and OUT. */
function shown(stderr: string, model: string, out: string): string {
  return stderr.trimEnd().replaceAll(out, 'OUT').replaceAll(model, 'MODEL')
}

for (const [group, cases] of Object.entries({ safetensors, folders, configs, tokenizers, quanto, calls, outputs })) {
  test(`bad input: ${group}`, { concurrency: 2 }, async (t) => {
    const check = async ({ name, says, args, change, model = stories }: Case) => {
      const place = join(root, `${count++}`)
      const folder = copyOf(model, join(place, 'model'), change ?? (() => {}))
      const out = join(place, 'out')
      const given = args?.(folder) ?? ['quantize', folder, '--weights', 'int8', '--out', out]
      const { code, stdout, stderr } = await lowbit(...given.map((arg) => (arg === 'OUT' ? out : arg)))
      t.diagnostic(`${name} → ${shown(stderr, folder, out)}`)
      assert.match(shown(stderr, folder, out), says)
      assert.match(stderr, /^lowbit: (?!internal fault)[^\n]+\n$/, 'one line')
      assert.doesNotMatch(stderr, /^ {4}at /m)
      assert.equal(stdout, '')
      assert.equal(code, 1)
      assert.deepEqual(readdirSync(place), ['model'], 'nothing written')
    }
    await Promise.all(cases.map((one) => t.test(one.name, () => check(one))))
  })
}

test('what was there stays as it was when a save is refused', async () => {
  const out = join(root, 'kept')
  cpSync(stories, out, { recursive: true })
  const before = readdirSync(out).map((file) => readFileSync(join(out, file)))
  assert.equal((await lowbit('quantize', stories, '--weights', 'int8', '--out', out)).code, 1)
  assert.deepEqual(
    readdirSync(out).map((file) => readFileSync(join(out, file))),
    before,
  )
})

/** Gives one tensor another name. */
function editJsonKey(folder: string, from: string, to: string): void {
  editTensors(folder, (header) => JSON.stringify(header).replace(JSON.stringify(from), JSON.stringify(to)))
}

/** Adds the token `zz` with an id that does not fit. */
function setToken(folder: string, id: unknown): void {
  editJson(folder, 'tokenizer.json', (json) => {
    const { vocab } = json.model as { vocab: Record<string, unknown> }
    vocab.zz = id
  })
}
