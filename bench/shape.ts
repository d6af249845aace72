import { createReadStream, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { convert, loadCausalLM, openDevice, save } from '../src/index.ts'
import { preTokenizers } from '../src/models/ggufPreTokenizers.ts'

/*
 * A model of the shape of Qwen2-0.5B, with random weights and a made-up tokenizer of the same size: what is
 * measured of it is what the model itself takes, and nothing needs to be fetched.
 */

const config = {
  architectures: ['Qwen2ForCausalLM'],
  model_type: 'qwen2',
  hidden_size: 896,
  intermediate_size: 4864,
  num_hidden_layers: 24,
  num_attention_heads: 14,
  num_key_value_heads: 2,
  vocab_size: 151936,
  max_position_embeddings: 32768,
  rms_norm_eps: 1e-6,
  rope_theta: 1e6,
  hidden_act: 'silu',
  tie_word_embeddings: true,
  torch_dtype: 'bfloat16',
  bos_token_id: 151643,
  eos_token_id: 151645,
}

/** How the shape is stored: bfloat16 floats (988 MB), int4 in groups of 32, or Q4_0 as llama.cpp reads it. */
export type ShapeKind = 'float' | 'int4' | 'q4_0.gguf'

/** As `lowbit quantize` takes it, too. */
const quantization = { method: 'quanto', weights: 'int4', groupSize: 32, exclude: 'lm_head' } as const

/**
 * The path of the shape's model, written into LOWBIT_CACHE (default: .cache) when it is first asked for, and
 * read once, so that it lies in the page cache.
 */
export async function shapeModel(kind: ShapeKind): Promise<string> {
  const cache = process.env.LOWBIT_CACHE ?? fileURLToPath(new URL('../.cache', import.meta.url))
  const place = (wanted: ShapeKind) => join(cache, `qwen2-0.5b-${wanted}`)
  const path = place(kind)
  if (!existsSync(path)) {
    if (kind === 'float') await writeShape(path)
    else {
      const float = await shapeModel('float')
      const device = openDevice('cpu')
      if (kind === 'q4_0.gguf') await convert(float, path, { to: 'gguf:q4_0', device })
      else await save(await loadCausalLM(float, { device, quantization }), path)
      await device.close()
    }
  }
  const file = kind.endsWith('.gguf') ? path : join(path, 'model.safetensors')
  for await (const _ of createReadStream(file, { highWaterMark: 2 ** 20 }));
  return path
}

function* tensors(): Generator<[name: string, shape: number[]]> {
  const { hidden_size: hidden, intermediate_size: inner, vocab_size: vocabulary } = config
  const keyValues = config.num_key_value_heads * (hidden / config.num_attention_heads)
  yield ['model.embed_tokens.weight', [vocabulary, hidden]]
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const layer = `model.layers.${i}`
    yield [`${layer}.input_layernorm.weight`, [hidden]]
    yield [`${layer}.mlp.down_proj.weight`, [hidden, inner]]
    yield [`${layer}.mlp.gate_proj.weight`, [inner, hidden]]
    yield [`${layer}.mlp.up_proj.weight`, [inner, hidden]]
    yield [`${layer}.post_attention_layernorm.weight`, [hidden]]
    for (const [name, rows] of Object.entries({ q: hidden, k: keyValues, v: keyValues })) {
      yield [`${layer}.self_attn.${name}_proj.bias`, [rows]]
      yield [`${layer}.self_attn.${name}_proj.weight`, [rows, hidden]]
    }
    yield [`${layer}.self_attn.o_proj.weight`, [hidden, hidden]]
  }
  yield ['model.norm.weight', [hidden]]
}

/** Writes the folder: bfloat16 numbers of magnitudes from 2⁻⁸ to 2⁻⁴, both signs. */
async function writeShape(path: string): Promise<void> {
  const folder = `${path}.part`
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer()))
  const settings = { tokenizer_class: 'Qwen2Tokenizer', eos_token: '<|im_end|>', pad_token: '<|endoftext|>' }
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(settings))
  const header: Record<string, unknown> = {}
  let end = 0
  for (const [name, shape] of tensors()) {
    const start = end
    end += 2 * shape.reduce((product, size) => product * size)
    header[name] = { dtype: 'BF16', shape, data_offsets: [start, end] }
  }
  const json = Buffer.from(JSON.stringify(header))
  const padded = Buffer.concat([Buffer.alloc(8), json, Buffer.alloc((8 - (json.length % 8)) % 8, ' ')])
  padded.writeBigUInt64LE(BigInt(padded.length - 8))
  const random = randomBits(1)
  const words = Uint16Array.from({ length: 2 ** 22 + 1 }, () => {
    const bits = random()
    return ((bits >>> 16) & 0x8000) | (0x3b80 + ((bits >>> 12) & 0x1ff))
  })
  const block = Buffer.from(words.buffer)
  const file = await open(join(folder, 'model.safetensors'), 'w')
  await file.write(padded)
  for (let at = 0; at < end; at += block.length) await file.write(block, 0, Math.min(block.length, end - at))
  await file.close()
  renameSync(folder, path)
}

/** A generator of 32 random bits, the high ones best. */
function randomBits(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return state
  }
}

/**
 * A byte-level BPE tokenizer of Qwen2's size: its merges join random tokens, mostly short ones of small
 * letters, so that tokens are as long as those of a real one.
 */
function tokenizer(): Record<string, unknown> {
  const special = ['<|endoftext|>', '<|im_start|>', '<|im_end|>']
  // GPT-2's 256 characters for bytes.
  const codes = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i)
  const bytes = [...codes(0x21, 0x7f), ...codes(0xa1, 0xad), ...codes(0xae, 0x144)]
  const tokens = bytes.map((code) => String.fromCharCode(code))
  const known = new Set(tokens)
  const starts = [...'Ġabcdefghijklmnopqrstuvwxyz']
  const merges: string[][] = []
  const random = randomBits(2)
  const chosen = (list: readonly string[], power: number) =>
    list[Math.floor(list.length * ((random() >>> 8) / 2 ** 24) ** power)]
  const joined = [...starts]
  while (tokens.length < config.bos_token_id) {
    const pair = [chosen(joined, 1.2), chosen(joined, 3)]
    const token = pair.join('')
    if (token.length > 16 || known.has(token) || pair[1].includes('Ġ')) continue
    known.add(token)
    for (const list of [tokens, joined]) list.push(token)
    merges.push(pair)
  }
  const added = special.map((content, i) => ({
    ...{ id: config.bos_token_id + i, content, special: true },
    ...{ single_word: false, lstrip: false, rstrip: false, normalized: false },
  }))
  return {
    ...{ version: '1.0', truncation: null, padding: null, added_tokens: added },
    ...{ normalizer: { type: 'NFC' }, pre_tokenizer: preTokenizers.get('qwen2') },
    post_processor: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false },
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false },
    model: {
      ...{
        type: 'BPE',
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: '',
        end_of_word_suffix: '',
      },
      ...{ fuse_unk: false, byte_fallback: false, vocab: Object.fromEntries(tokens.map((t, i) => [t, i])) },
      merges: merges.map((pair) => pair.join(' ')),
    },
  }
}
