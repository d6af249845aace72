import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Case, config, editJsonKey, entry, first, testBadInput, weights, write } from './badCases.ts'
import { editTensors, text } from './lowbit.ts'

// No test asks the hub.
process.env.HF_HUB_OFFLINE = '1'

const safetensors: Case[] = [
  {
    name: 'empty',
    change: write(weights, ''),
    says: /model\.safetensors: a safetensors file must have at least 8 bytes; it has 0/,
  },
  {
    name: 'truncated',
    change: (folder) => truncateSync(join(folder, weights), 500_000),
    says: /must lie within the file's 500000 bytes/,
  },
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
  {
    name: 'header is no JSON',
    change: (folder) => editTensors(folder, () => '{"a":'),
    says: /model\.safetensors: header: must be JSON/,
  },
  {
    name: 'header is a list',
    change: (folder) => editTensors(folder, () => '[]'),
    says: /header: the document must be an object/,
  },
  {
    name: 'header nests 100,000 deep',
    change: (folder) => editTensors(folder, () => '{"a":'.repeat(100_000)),
    says: /must nest at most 64 deep/,
  },
  {
    name: 'header is not UTF-8',
    change: (folder) => editTensors(folder, () => Uint8Array.of(0x7b, 0xff, 0x7d)),
    says: /valid UTF-8/,
  },
  {
    name: 'a name twice',
    change: (folder) =>
      editTensors(folder, (header) =>
        JSON.stringify(header).replace('{', `{${JSON.stringify(first)}:${JSON.stringify(header[first])},`),
      ),
    says: /a key must appear once; "model\.embed_tokens\.weight" appears twice/,
  },
  {
    name: 'overlapping tensors',
    change: (folder) =>
      editTensors(folder, (header) => void header['model.norm.weight'].data_offsets.splice(0, 2, 0, 256)),
    says: /would overlap the tensor before it/,
  },
  {
    name: 'offsets beyond the end',
    change: entry((it) => it.data_offsets.splice(0, 2, 2 ** 40, 2 ** 40 + 131072)),
    says: /start at byte|lie within/,
  },
  {
    name: 'offsets backwards',
    change: entry((it) => it.data_offsets.reverse()),
    says: /embed_tokens.*data_offsets must be two offsets/,
  },
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
  {
    name: 'shape of 2^60 values',
    change: entry((it) => it.shape.splice(0, 2, 2 ** 30, 2 ** 30)),
    says: /must span .* bytes/,
  },
  {
    name: 'unknown dtype',
    change: entry((it) => Object.assign(it, { dtype: 'F31' })),
    says: /dtype must be one of .*; received "F31"/,
  },
  {
    name: 'dtype of no use here',
    change: entry((it) => Object.assign(it, { dtype: 'I32' })),
    says: /embed_tokens\.weight must be float32, float16 or bfloat16; it is int32/,
  },
  {
    name: 'dtype not supported',
    change: entry((it) => Object.assign(it, { dtype: 'U32' })),
    says: /embed_tokens\.weight must be float32, float16 or bfloat16; it is U32/,
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
    change: (folder) =>
      editTensors(folder, (header) => void header['model.layers.2.mlp.down_proj.weight'].shape.reverse()),
    says: /model\.layers\.2\.mlp\.down_proj\.weight must be \[64,172\]; it is \[172,64\]/,
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
    says: /no\/folder: must be a folder, or in the hub's cache when HF_HUB_OFFLINE is 1; it is neither/,
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
  {
    name: 'config.json truncated',
    change: write('config.json', '{"architectures": ["Llama'),
    says: /config\.json: must be JSON/,
  },
  {
    name: 'config.json not UTF-8',
    change: write('config.json', Uint8Array.of(0x7b, 0xc3, 0x28, 0x7d)),
    says: /config\.json: text must be valid UTF-8/,
  },
  {
    name: 'config.json a list',
    change: write('config.json', '[]'),
    says: /config\.json: the document must be an object/,
  },
  {
    name: 'no weights',
    change: (folder) => rmSync(join(folder, weights)),
    says: /must hold model\.safetensors, .* or pytorch_model\.bin\.index\.json; it holds LICENSE/,
  },
  {
    name: 'index names a shard outside',
    change: (folder) => {
      rmSync(join(folder, weights))
      writeFileSync(
        join(folder, 'model.safetensors.index.json'),
        '{"weight_map":{"a":"../../../etc/passwd"}}',
      )
    },
    says: /index\.json: a file name must be a plain path inside the folder/,
  },
  {
    name: 'index names a shard that is not there',
    change: (folder) => {
      rmSync(join(folder, weights))
      writeFileSync(
        join(folder, 'model.safetensors.index.json'),
        '{"weight_map":{"a":"model-00001-of-00002.safetensors"}}',
      )
    },
    says: /must hold model-00001-of-00002\.safetensors; there is no such file/,
  },
]

const configs: Case[] = [
  {
    name: 'unknown architecture',
    change: config('architectures', ['MambaForCausalLM']),
    says: /the architecture must be one that lowbit has; it is "MambaForCausalLM"; the nearest are .*GemmaForCausalLM/,
  },
  {
    name: 'quantized by a method that is not known',
    change: config('quantization_config', { quant_method: 'eetq' }),
    says: /quantized by "eetq"/,
  },
  {
    name: 'hidden size of 6,400,000,000',
    change: config('hidden_size', 6.4e9),
    says: /config\.json: hidden_size must be at most 1048576; received 6400000000/,
  },
  {
    name: '10^9 layers',
    change: config('num_hidden_layers', 1e9),
    says: /num_hidden_layers must be at most 4096; received 1000000000/,
  },
  {
    name: 'half a layer',
    change: config('num_hidden_layers', 4.5),
    says: /num_hidden_layers must be a positive integer; received 4\.5/,
  },
  {
    name: 'a size as text',
    change: config('vocab_size', '512'),
    says: /vocab_size must be a positive integer; received "512"/,
  },
  {
    name: 'heads that do not divide',
    change: config('num_key_value_heads', 3),
    says: /num_key_value_heads must divide num_attention_heads \(8\); received 3/,
  },
  {
    name: 'sizes of another model',
    change: config('intermediate_size', 176),
    says: /gate_proj\.weight must be \[176,64\]; it is \[172,64\]/,
  },
  {
    name: 'a layer too many',
    change: config('num_hidden_layers', 6),
    says: /model\.layers\.5\..* is missing/,
  },
  {
    name: 'a layer too few',
    change: config('num_hidden_layers', 4),
    says: /model\.layers\.4\..* is not a part of the model/,
  },
  {
    name: 'control characters',
    change: config('architectures', ['\u001b[31mLlama\n']),
    says: /it is "\\u001b\[31mLlama\\n"/,
  },
]

testBadInput({ safetensors, folders, configs })
