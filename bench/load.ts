// npm run bench:load [-- --keep FOLDER]
//
// Loading and quantizing on the way from file to file, of a Llama of the shape of Qwen2-0.5B in bfloat16 (988
// MB, random weights), which is written to a temporary folder first, so that it lies in the page cache:
//
//   load             loadCausalLM of the float model, in MB of its file a second
//   quantize         lowbit quantize --weights int4 --exclude lm_head, start and end of the process included
//   load quantized   loadCausalLM of the result
//
// Each runs in a process of its own, three times; the best time counts, the least CPU time, and
// the largest peak of resident memory.
import { spawnSync } from 'node:child_process'
import {
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: { keep: { type: 'string' }, load: { type: 'string' }, rounds: { type: 'string', default: '3' } },
})

const config = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 896,
  intermediate_size: 4864,
  num_hidden_layers: 24,
  num_attention_heads: 14,
  num_key_value_heads: 2,
  head_dim: 64,
  vocab_size: 151936,
  max_position_embeddings: 32768,
  rms_norm_eps: 1e-6,
  rope_theta: 1e6,
  hidden_act: 'silu',
  tie_word_embeddings: true,
  torch_dtype: 'bfloat16',
}

function* tensors(): Generator<[name: string, shape: number[]]> {
  const { hidden_size: hidden, intermediate_size: inner, vocab_size: vocabulary } = config
  const keyValues = config.num_key_value_heads * config.head_dim
  yield ['model.embed_tokens.weight', [vocabulary, hidden]]
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const layer = `model.layers.${i}`
    yield [`${layer}.input_layernorm.weight`, [hidden]]
    yield [`${layer}.mlp.down_proj.weight`, [hidden, inner]]
    yield [`${layer}.mlp.gate_proj.weight`, [inner, hidden]]
    yield [`${layer}.mlp.up_proj.weight`, [inner, hidden]]
    yield [`${layer}.post_attention_layernorm.weight`, [hidden]]
    yield [`${layer}.self_attn.k_proj.weight`, [keyValues, hidden]]
    yield [`${layer}.self_attn.o_proj.weight`, [hidden, hidden]]
    yield [`${layer}.self_attn.q_proj.weight`, [hidden, hidden]]
    yield [`${layer}.self_attn.v_proj.weight`, [keyValues, hidden]]
  }
  yield ['model.norm.weight', [hidden]]
}

/** Writes the folder: bfloat16 numbers of magnitudes from 2⁻⁸ to 2⁻⁴, both signs. */
async function writeModel(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
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
  let seed = 1
  const words = Uint16Array.from({ length: 2 ** 22 + 1 }, () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) | 0
    return ((seed >>> 16) & 0x8000) | (0x3b80 + ((seed >>> 12) & 0x1ff))
  })
  const block = Buffer.from(words.buffer)
  const file = await open(join(folder, 'model.safetensors'), 'w')
  await file.write(padded)
  for (let at = 0; at < end; at += block.length) await file.write(block, 0, Math.min(block.length, end - at))
  await file.close()
}

interface Measured {
  seconds: number
  /** Of all threads, start and end of the process included. */
  cpuSeconds: number
  /** Kilobytes. */
  maxRSS: number
}

const self = fileURLToPath(import.meta.url)
const cli = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url))

/** Runs this file, or the command, with an exit hook that prints what the process took. */
function measure(args: string[]): Measured {
  const started = performance.now()
  const usage = `const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage()`
  const print = `console.error('usage', maxRSS, userCPUTime + systemCPUTime)`
  const hook = `process.on('exit', () => { ${usage}; ${print} })`
  const hooked = [
    '--conditions=lowbit-source',
    '--import',
    `data:text/javascript,${encodeURIComponent(hook)}`,
  ]
  const { stdout, stderr, status } = spawnSync(process.execPath, [...hooked, ...args], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${args.join(' ')}: ${stderr}`)
  const inside = /seconds ([\d.]+)/.exec(stdout)?.[1]
  const seconds = inside ? Number(inside) : (performance.now() - started) / 1000
  const [, maxRSS, cpu] = /usage (\d+) (\d+)/.exec(stderr) ?? []
  return { seconds, maxRSS: Number(maxRSS), cpuSeconds: Number(cpu) / 1e6 }
}

function best(name: string, bytes: number, run: () => Measured): void {
  const runs = Array.from({ length: Number(values.rounds) }, run)
  const seconds = Math.min(...runs.map((each) => each.seconds))
  const peak = Math.max(...runs.map((each) => each.maxRSS)) / 1000
  const rate = (bytes / 1e6 / seconds).toFixed(0)
  const cpu = Math.min(...runs.map((each) => each.cpuSeconds)).toFixed(2)
  const figures = [`${seconds.toFixed(2)} s`, `${rate} MB/s`, `${cpu} s of CPU`, `peak ${peak.toFixed(0)} MB`]
  console.log(name.padEnd(16) + figures.map((figure) => figure.padStart(18)).join(''))
}

if (values.load !== undefined) {
  const { openDevice } = await import('../src/devices/open.ts')
  const { loadCausalLM } = await import('../src/models/load.ts')
  const device = openDevice('cpu')
  const started = performance.now()
  await loadCausalLM(values.load, { device })
  console.log(`seconds ${(performance.now() - started) / 1000}`)
  await device.close()
} else {
  const root = values.keep ?? mkdtempSync(join(tmpdir(), 'lowbit-load-'))
  try {
    const [folder, out] = [join(root, 'float'), join(root, 'int4')]
    if (!existsSync(join(folder, 'model.safetensors'))) await writeModel(folder)
    // Into the page cache, in pieces: the peak of a process counts what the one held that started it.
    for await (const _ of createReadStream(join(folder, 'model.safetensors'), { highWaterMark: 2 ** 20 }));
    const bytes = (place: string) => statSync(join(place, 'model.safetensors')).size
    best('load', bytes(folder), () => measure([self, '--load', folder]))
    best('quantize', bytes(folder), () => {
      rmSync(out, { recursive: true, force: true })
      return measure([
        cli,
        'quantize',
        folder,
        '--weights',
        'int4',
        '--exclude',
        'lm_head',
        '--out',
        out,
        '--json',
      ])
    })
    best('load quantized', bytes(out), () => measure([self, '--load', out]))
  } finally {
    if (values.keep === undefined) rmSync(root, { recursive: true, force: true })
  }
}
