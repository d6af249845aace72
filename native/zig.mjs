// zig, the C++ compiler for all platforms: from PyPI, in a virtual environment in the cache (.cache/zig, or
// LOWBIT_CACHE).
import { execFile } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

export const zigVersion = '0.17.1'

const root = fileURLToPath(new URL('..', import.meta.url))
const cache = join(process.env.LOWBIT_CACHE ?? join(root, '.cache'), 'zig')
const python = join(cache, 'venv', 'bin', 'python')

/** Runs zig in the root of the repository; rejects with what it said. */
export function zig(...args) {
  return run(python, ['-m', 'ziglang', ...args], {
    ...process.env,
    ZIG_GLOBAL_CACHE_DIR: cache,
    ZIG_LOCAL_CACHE_DIR: cache,
  })
}

/** Installs it unless it is there. */
export async function installZig() {
  const marker = join(cache, `version-${zigVersion}`)
  if (existsSync(marker)) return
  console.log(`lowbit: installing zig ${zigVersion} into ${cache} …`)
  await run('python3', ['-m', 'venv', join(cache, 'venv')], process.env)
  await run(python, ['-m', 'pip', 'install', '--quiet', `ziglang==${zigVersion}`], process.env)
  writeFileSync(marker, '')
}

async function run(command, args, env) {
  try {
    await promisify(execFile)(command, args, { cwd: root, env, maxBuffer: 2 ** 26 })
  } catch (error) {
    throw new Error(`zig: ${command} ${args.join(' ')} must succeed; ${error.stderr || error.message}`)
  }
}
