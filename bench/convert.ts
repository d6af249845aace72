// npm run bench:convert [-- --keep FOLDER] [--layers N] [--record]
//
// `lowbit convert` of a Llama of 4 bits as GPTQ stores it, of some 2 GB and no tensor above 200 MB, which is
// written to a temporary folder first, so that it lies in the page cache. Codes are packed anew and nothing is
// quantized: GPTQ → GPTQ's second format and back. Each in a process of its own; rate of the input, CPU time and
// the largest resident memory without mapped files. With --record the figures are kept in bench/results.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    keep: { type: 'string' },
    layers: { type: 'string', default: '16' },
    record: { type: 'boolean' },
    to: { type: 'string', default: 'gptq_v2' },
  },
})

const layers = Number(values.layers)
const config = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 4096,
  intermediate_size: 14336,
  num_hidden_layers: layers,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  head_dim: 128,
  vocab_size: 16384,
  max_position_embeddings: 8192,
  rms_norm_eps: 1e-5,
  rope_theta: 5e5,
  hidden_act: 'silu',
  tie_word_embeddings: true,
  torch_dtype: 'float16',
  quantization_config: {
    ...{ quant_method: 'gptq', bits: 4, group_size: 128, desc_act: false, sym: true },
    checkpoint_format: 'gptq',
  },
}

interface Head {
  name: string
  dtype: 'F16' | 'I32'
  shape: number[]
}

function* tensors(): Generator<Head> {
  const { hidden_size: hidden, intermediate_size: inner, vocab_size: vocabulary } = config
  const keyValues = config.num_key_value_heads * config.head_dim
  const half = (name: string, shape: number[]): Head => ({ name, dtype: 'F16', shape })
  const linear = (name: string, inputs: number, outputs: number): Head[] => [
    { name: `${name}.g_idx`, dtype: 'I32', shape: [inputs] },
    { name: `${name}.qweight`, dtype: 'I32', shape: [inputs / 8, outputs] },
    { name: `${name}.qzeros`, dtype: 'I32', shape: [inputs / 128, outputs / 8] },
    half(`${name}.scales`, [inputs / 128, outputs]),
  ]
  yield half('model.embed_tokens.weight', [vocabulary, hidden])
  for (let i = 0; i < layers; i++) {
    const layer = `model.layers.${i}`
    yield half(`${layer}.input_layernorm.weight`, [hidden])
    yield half(`${layer}.post_attention_layernorm.weight`, [hidden])
    yield* linear(`${layer}.mlp.gate_proj`, hidden, inner)
    yield* linear(`${layer}.mlp.up_proj`, hidden, inner)
    yield* linear(`${layer}.mlp.down_proj`, inner, hidden)
    yield* linear(`${layer}.self_attn.q_proj`, hidden, hidden)
    yield* linear(`${layer}.self_attn.k_proj`, hidden, keyValues)
    yield* linear(`${layer}.self_attn.v_proj`, hidden, keyValues)
    yield* linear(`${layer}.self_attn.o_proj`, hidden, hidden)
  }
  yield half('model.norm.weight', [hidden])
}

/** The bytes of a tensor: any codes, zero points of 8, scales around 1/128, groups in order. */
function bytesOf({ name, shape }: Head, noise: Buffer): Buffer {
  const count = shape.reduce((product, size) => product * size)
  if (name.endsWith('.g_idx'))
    return Buffer.from(Int32Array.from({ length: count }, (_, i) => Math.floor(i / 128)).buffer)
  if (name.endsWith('.qzeros')) return Buffer.alloc(4 * count, 0x77)
  if (name.endsWith('.qweight'))
    return Buffer.concat(Array.from({ length: Math.ceil((4 * count) / noise.length) }, () => noise)).subarray(
      0,
      4 * count,
    )
  const halves = new Uint16Array(count)
  for (let i = 0; i < count; i++) halves[i] = 0x2000 + (noise[i % noise.length] << 2)
  return Buffer.from(halves.buffer)
}

async function writeModel(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  const header: Record<string, unknown> = {}
  let end = 0
  for (const { name, dtype, shape } of tensors()) {
    const start = end
    end += (dtype === 'I32' ? 4 : 2) * shape.reduce((product, size) => product * size)
    header[name] = { dtype, shape, data_offsets: [start, end] }
  }
  const json = Buffer.from(JSON.stringify(header))
  const padded = Buffer.concat([Buffer.alloc(8), json, Buffer.alloc((8 - (json.length % 8)) % 8, ' ')])
  padded.writeBigUInt64LE(BigInt(padded.length - 8))
  let seed = 1
  const noise = Buffer.from(
    Uint8Array.from({ length: 2 ** 20 + 1 }, () => {
      seed = (Math.imul(seed, 1664525) + 1013904223) | 0
      return seed >>> 24
    }),
  )
  const file = await open(join(folder, 'model.safetensors'), 'w')
  await file.write(padded)
  for (const head of tensors()) await file.write(bytesOf(head, noise))
  await file.close()
}

const cli = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url))

/** Runs the command with a hook that prints what the process took: memory that is not of files, every 20 ms. */
function measure(args: string[]) {
  const started = performance.now()
  const watch = `let peak = 0
    const { readFileSync } = await import('node:fs')
    const look = () => { const found = /RssAnon:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8')); peak = Math.max(peak, Number(found?.[1] ?? 0)) }
    setInterval(look, 20).unref()
    process.on('exit', () => { look(); const { userCPUTime, systemCPUTime } = process.resourceUsage(); console.error('usage', peak, userCPUTime + systemCPUTime) })`
  const hooked = [
    '--conditions=lowbit-source',
    '--import',
    `data:text/javascript,${encodeURIComponent(watch)}`,
  ]
  const { stderr, stdout, status } = spawnSync(process.execPath, [...hooked, cli, ...args], {
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`${args.join(' ')}: ${stderr}`)
  const [, peak, cpu] = /usage (\d+) (\d+)/.exec(stderr) ?? []
  const exact = (JSON.parse(stdout).tensors as { exact: boolean }[]).every((tensor) => tensor.exact)
  return {
    seconds: (performance.now() - started) / 1000,
    peak: Number(peak) * 1024,
    cpu: Number(cpu) / 1e6,
    exact,
  }
}

const root = values.keep ?? mkdtempSync(join(tmpdir(), 'lowbit-convert-'))
try {
  const source = join(root, 'gptq')
  if (!existsSync(join(source, 'model.safetensors'))) await writeModel(source)
  const rows = []
  let from = source
  for (const to of [values.to, 'gptq']) {
    const out = join(root, `to-${to}`)
    rmSync(out, { recursive: true, force: true })
    // Into the page cache.
    const { size } = statSync(join(from, 'model.safetensors'))
    const { seconds, peak, cpu, exact } = measure(['convert', from, '--to', to, '--out', out, '--json'])
    rows.push({
      conversion: `${from === source ? 'gptq' : values.to} → ${to}`,
      input: `${(size / 1e9).toFixed(2)} GB`,
      seconds: seconds.toFixed(1),
      'MB/s of input': (size / 1e6 / seconds).toFixed(0),
      'CPU seconds': cpu.toFixed(1),
      'memory without files': `${(peak / 1e6).toFixed(0)} MB`,
      codes: exact ? 'exact' : 'changed',
    })
    console.log(Object.values(rows.at(-1) ?? {}).join('   '))
    from = out
  }
  const path = fileURLToPath(new URL('results/convert.json', import.meta.url))
  if (values.record) writeFileSync(path, `${JSON.stringify(rows, null, 2)}\n`)
} finally {
  if (values.keep === undefined) rmSync(root, { recursive: true, force: true })
}
