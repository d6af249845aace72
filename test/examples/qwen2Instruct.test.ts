import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

/* The example on a tiny Qwen2, which gets a tokenizer of single characters and Qwen's chat template. */

const root = join(import.meta.dirname, '../..')
const template =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

async function tinyQwen2(folder: string): Promise<string> {
  const source = join(root, 'test/golden/families/qwen2')
  const model = join(folder, 'qwen2')
  await mkdir(model)
  await copyFile(join(source, 'model.safetensors'), join(model, 'model.safetensors'))
  const config = JSON.parse(await readFile(join(source, 'config.json'), 'utf8'))
  // The prompt has more characters than the model was made for; its positions are angles, which never end.
  const write = (name: string, value: unknown) => writeFile(join(model, name), JSON.stringify(value))
  await write('config.json', { ...config, max_position_embeddings: 512 })
  const special = ['<unk>', '<|endoftext|>', '<|im_end|>', '<|im_start|>']
  const letters = [...' \nabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUV.?'].slice(
    0,
    config.vocab_size - special.length,
  )
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }
  await write('tokenizer.json', {
    version: '1.0',
    added_tokens: special.map((content, id) => ({ id, content, ...flags })),
    decoder: { type: 'Fuse' },
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      vocab: Object.fromEntries([...special, ...letters].map((token, id) => [token, id])),
      merges: [],
    },
  })
  await write('tokenizer_config.json', {
    chat_template: template,
    eos_token: '<|im_end|>',
    unk_token: '<unk>',
  })
  return model
}

test('qwen2-instruct: trees, files, two answers and their sizes', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'lowbit-example-'))
  try {
    const model = await tinyQwen2(folder)
    const out = join(folder, 'int8')
    const example = join(root, 'examples/qwen2-instruct/main.ts')
    const options = ['--prompt', 'hello', '--tokens', '8', '--out', out]
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--conditions=lowbit-source', example, model, ...options],
      { cwd: root },
    )
    const [before, after] = stdout.split('\nAfter\n')
    assert.match(before, /^Before\n\nQwen2ForCausalLM\([\s\S]*\(q_proj\): Linear\(/)
    assert.doesNotMatch(before, /QLinear/)
    assert.match(after, /\(q_proj\): QLinear\([\s\S]*\(lm_head\): Linear\(/)
    // Every file of the folder stands in the list with its size.
    for (const name of await readdir(out)) {
      const { size } = await stat(join(out, name))
      assert.match(before, new RegExp(` ${(size / 1e6).toFixed(2)} MB  ${name.replaceAll('.', '\\.')}\n`))
    }
    assert.match(after, /\nhello\n\nfloat: [\s\S]*\n\nint8: [\s\S]*\n\nfootprint /)
    const [, float, quantized] = /footprint +([\d.]+) MB → +([\d.]+) MB/.exec(after) ?? []
    assert.ok(Number(quantized) < Number(float) && Number(quantized) > 0, after)
  } finally {
    await rm(folder, { recursive: true })
  }
})
