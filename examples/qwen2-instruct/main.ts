// An instruction-tuned Qwen2, quantized: load, quantize all but the head, freeze, save, load again, and ask both
// models the same.
//
//     npm run example qwen2-instruct/main
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type CausalLM, freeze, generate, loadCausalLM, memoryFootprint, quantize, save } from 'lowbit'
import { fail, readOptions } from '../options.ts'

const about = `Quantizes an instruction-tuned Qwen2 but for its head, saves it, loads it again, and asks the float
model and the quantized one the same question: answers, files and memory beside each other.

MODEL is a folder in Hugging Face layout or a hub id; without it, Qwen/Qwen2-0.5B-Instruct (988 MB, from
the hub).`

const flags = readOptions(
  'qwen2-instruct/main [MODEL]',
  about,
  {
    weights: ['int8', 'type of the weights', ['int8', 'int4', 'int2', 'float8']],
    prompt: ['Give me a short introduction to large language models.', 'what to ask'],
    system: ['You are a helpful assistant.', 'an instruction that stands before the question'],
    tokens: [128, 'how many an answer has at most'],
    out: ['', 'folder to keep the quantized model in; without it, a temporary one'],
  },
  1,
)
const path = flags.positionals[0] ?? 'Qwen/Qwen2-0.5B-Instruct'

const messages = [
  { role: 'system', content: flags.system },
  { role: 'user', content: flags.prompt },
]

/** What the model answers, in text. */
async function answer(model: CausalLM): Promise<string> {
  const { tokenizer } = model
  if (!tokenizer) fail('qwen2-instruct/main', `${path} has no tokenizer`)
  const ids = await tokenizer.encodeChat(messages)
  return (await generate(model, ids, { maxNewTokens: flags.tokens })).text
}

/** The files of a folder, by name, and their bytes. */
async function filesOf(folder: string): Promise<{ name: string; bytes: number }[]> {
  const names = (await readdir(folder)).sort()
  return Promise.all(names.map(async (name) => ({ name, bytes: (await stat(join(folder, name))).size })))
}

const mb = (bytes: number) => `${(bytes / 1e6).toFixed(2).padStart(10)} MB`
const temporary = flags.out ? undefined : await mkdtemp(join(tmpdir(), 'lowbit-qwen2-'))
const out = flags.out || join(temporary as string, `qwen2-${flags.weights}`)
try {
  const model = await loadCausalLM(path)
  console.log(`Before\n\n${model}\n`)
  const before = { answer: await answer(model), footprint: memoryFootprint(model) }

  quantize(model, { weights: flags.weights, exclude: 'lm_head' })
  freeze(model)
  await save(model, out)
  const { device } = model
  model.dispose()

  console.log(`Saved in ${out}\n`)
  const files = await filesOf(out)
  for (const { name, bytes } of files) console.log(`${mb(bytes)}  ${name}`)

  const small = await loadCausalLM(out, { device })
  console.log(`\nAfter\n\n${small}\n`)
  const after = { answer: await answer(small), footprint: memoryFootprint(small) }

  console.log(`${flags.prompt}\n\nfloat: ${before.answer}\n\n${flags.weights}: ${after.answer}\n`)
  const saved = files.filter(({ name }) => name.endsWith('.safetensors'))
  console.log(`footprint ${mb(before.footprint)} → ${mb(after.footprint)}`)
  console.log(`weights in files${' '.repeat(10)} ${mb(saved.reduce((sum, { bytes }) => sum + bytes, 0))}`)
  await device.close()
} finally {
  if (temporary) await rm(temporary, { recursive: true })
}
