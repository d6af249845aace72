import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)
const requirements = readFileSync(join(import.meta.dirname, 'requirements.txt'), 'utf8')

/**
 * A Python interpreter with the pinned libraries: `LOWBIT_PYTHON`, or one in a virtual environment of our own
 * under `LOWBIT_CACHE` (default: `.cache`), which is made when it is not there yet.
 * @throws Error, in one sentence, if there is no Python, or a library cannot be installed or has another
 * version
 */
export async function findPython(): Promise<string> {
  const given = process.env.LOWBIT_PYTHON
  if (given) {
    await checkVersions(given)
    return given
  }
  const folder = join(process.env.LOWBIT_CACHE ?? join(import.meta.dirname, '../../.cache'), 'interop-python')
  const python = join(folder, process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python')
  const stamp = join(folder, 'requirements.stamp')
  mkdirSync(dirname(folder), { recursive: true })
  // Test files run side by side: one of them installs, the others wait.
  const lock = `${folder}.lock`
  while (read(stamp) !== requirements) {
    if (!takeLock(lock)) await sleep(500)
    else {
      try {
        if (read(stamp) !== requirements) await install(folder, python)
        writeFileSync(stamp, requirements)
      } finally {
        rmSync(lock, { force: true })
      }
    }
  }
  return python
}

/** Whether this process holds the lock now: nobody else does, or one that has ended. */
function takeLock(lock: string): boolean {
  try {
    writeFileSync(lock, String(process.pid), { flag: 'wx' })
    return true
  } catch {
    const holder = Number(read(lock))
    if (holder > 0 && !isRunning(holder)) rmSync(lock, { force: true })
    return false
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

async function install(folder: string, python: string): Promise<void> {
  // Without its stamp a folder is the rest of an installation that was broken off.
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  console.error(
    'interop: installing PyTorch, optimum-quanto and bitsandbytes into a virtual environment, once; this takes minutes',
  )
  await step('needs Python 3.10 or newer as python3, with venv', 'python3', ['-m', 'venv', folder])
  const pip = '-m pip install --quiet --no-cache-dir --disable-pip-version-check -r'.split(' ')
  const list = join(import.meta.dirname, 'requirements.txt')
  await step('pip could not install the libraries of test/interop/requirements.txt', python, [...pip, list])
  await checkVersions(python)
}

async function checkVersions(python: string): Promise<void> {
  const wanted = requirements.split('\n').filter((line) => line.includes('=='))
  const script =
    'import sys, importlib.metadata as m; print("\\n".join(f"{n}=={m.version(n).split(\'+\')[0]}" for n in sys.argv[1:]))'
  const names = wanted.map((line) => line.split('==')[0])
  const found = await step('LOWBIT_PYTHON must have the libraries of test/interop/requirements.txt', python, [
    '-c',
    script,
    ...names,
  ])
  const missing = wanted.filter((line) => !found.split('\n').includes(line))
  if (missing.length > 0)
    throw new Error(
      `interop: Python must have ${missing.join(', ')}; it has ${found.trim().replaceAll('\n', ', ')}`,
    )
}

async function step(sentence: string, command: string, args: string[], env = process.env): Promise<string> {
  try {
    return (await run(command, args, { maxBuffer: 1e8, env })).stdout
  } catch (error) {
    const { stderr, message, signal } = error as Error & { stderr?: string; signal?: string }
    const said = signal ?? (stderr || message).trim().split('\n').at(-1)
    throw new Error(`interop: ${sentence}; ${command} ended with: ${said}`)
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** A task for quanto_peer.py, which describes them. */
export type Job =
  | {
      task: 'load'
      model: string
      folder: string
      x: readonly number[]
      shape: readonly number[]
      out: string
    }
  | { task: 'read'; folder: string; ids: readonly number[]; out: string; activations?: boolean }
  | {
      task: 'write'
      float: string
      dtype: string
      weights: string
      exclude?: string
      folder: string
      ids: readonly number[]
      out: string
    }

/** A task for bitsandbytes_peer.py, which describes them. */
export type BitsAndBytesJob =
  | { task: 'read'; folder: string; ids: readonly number[]; out: string }
  | {
      task: 'write'
      float: string
      dtype: string
      config: Readonly<Record<string, unknown>>
      folder: string
    }

/** Runs jobs of a script beside this file in one Python process. */
export async function runJobs(
  python: string,
  jobs: readonly (Job | BitsAndBytesJob)[],
  folder: string,
  script = 'quanto_peer.py',
): Promise<void> {
  const list = join(folder, 'jobs.json')
  writeFileSync(list, JSON.stringify(jobs))
  // Nothing may be fetched: every file is here.
  const env = {
    ...process.env,
    HF_HUB_OFFLINE: '1',
    TRANSFORMERS_OFFLINE: '1',
    TQDM_DISABLE: '1',
    PYTHONWARNINGS: 'ignore',
  }
  await step('the Python side must end well', python, [join(import.meta.dirname, script), list], env)
}
