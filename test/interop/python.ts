import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')

/** A virtual environment: the libraries of its requirements, and where it is made. */
interface Environment {
  /** What messages call its list of libraries. */
  readonly list: string
  /** Versions to install, one a line. */
  readonly requirements: string
  readonly folder: string
}

/**
 * A Python interpreter with the pinned libraries of test/interop/requirements.txt: `LOWBIT_PYTHON`, or one in
 * a virtual environment of our own under `LOWBIT_CACHE` (default: `.cache`), which is made when it is not
 * there yet.
 * @param name a folder in `room`: the libraries of its requirements.txt, too, in an environment of
 * their own that looks up all others in the first. They are installed without what they depend on: what the
 * first lacks stands in the list.
 * @param room by its path in this repository
 * @throws Error, in one sentence, if there is no Python, or a library cannot be installed or has another
 * version
 */
export async function findPython(name?: string, room = 'test/interop'): Promise<string> {
  const base = environment()
  const given = process.env.LOWBIT_PYTHON
  if (given) await checkVersions(given, base)
  const first = given ?? (await made(base, makeFirst))
  return name === undefined ? first : made(environment(name, room), (folder) => makeBeside(first, folder))
}

function environment(name?: string, room = 'test/interop'): Environment {
  const list = [room, name, 'requirements.txt'].filter(Boolean).join('/')
  return {
    list,
    requirements: readFileSync(join(root, list), 'utf8'),
    folder: join(process.env.LOWBIT_CACHE ?? join(root, '.cache'), `interop-${name ?? 'python'}`),
  }
}

/** What makes an environment in an empty folder; it gives the options with which pip installs there. */
type Make = (folder: string) => Promise<readonly string[]>

/** The interpreter of an environment, which is made, or brought up to its list, unless it is so already. */
async function made(wanted: Environment, make: Make): Promise<string> {
  const { folder, requirements } = wanted
  const stamp = join(folder, 'requirements.stamp')
  mkdirSync(dirname(folder), { recursive: true })
  // Test files run side by side: one of them installs, the others wait.
  const lock = `${folder}.lock`
  while (read(stamp) !== requirements) {
    if (!takeLock(lock)) await sleep(500)
    else {
      try {
        if (read(stamp) !== requirements) await install(wanted, make)
        writeFileSync(stamp, requirements)
      } finally {
        rmSync(lock, { force: true })
      }
    }
  }
  return interpreter(folder)
}

function interpreter(folder: string): string {
  return join(folder, process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python')
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

async function install(wanted: Environment, make: Make): Promise<void> {
  const { folder, list } = wanted
  // Without its stamp a folder is the rest of an installation that was broken off.
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  console.error(`interop: installing the libraries of ${list} into a virtual environment, once`)
  const options = await make(folder)
  const pip = ['-m', 'pip', 'install', '--quiet', '--no-cache-dir', '--disable-pip-version-check', ...options]
  const python = interpreter(folder)
  await step(`pip could not install the libraries of ${list}`, python, [...pip, '-r', join(root, list)])
  await checkVersions(python, wanted)
}

async function makeFirst(folder: string): Promise<readonly string[]> {
  await step('needs Python 3.10 or newer as python3, with venv', 'python3', ['-m', 'venv', folder])
  return []
}

/** An environment whose interpreter finds the libraries of `first` behind its own, pip among them. */
async function makeBeside(first: string, folder: string): Promise<readonly string[]> {
  const place = 'import sysconfig; print(sysconfig.get_path("purelib"))'
  await step('needs venv', first, ['-m', 'venv', '--without-pip', folder])
  const [theirs, own] = await Promise.all(
    [first, interpreter(folder)].map((python) => step('Python must start', python, ['-c', place])),
  )
  writeFileSync(join(own.trim(), 'first.pth'), theirs)
  return ['--no-deps', '--no-build-isolation']
}

async function checkVersions(python: string, { requirements, list }: Environment): Promise<void> {
  const wanted = requirements.split('\n').filter((line) => line.includes('=='))
  const script =
    'import sys, importlib.metadata as m; print("\\n".join(f"{n}=={m.version(n).split(\'+\')[0]}" for n in sys.argv[1:]))'
  const names = wanted.map((line) => line.split('==')[0])
  const found = await step(`${python} must have the libraries of ${list}`, python, ['-c', script, ...names])
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

/**
 * Runs jobs of a script beside this file in one Python process, without the network unless `settings` allow
 * it.
 */
export async function runJobs(
  python: string,
  jobs: readonly object[],
  folder: string,
  script = 'quanto_peer.py',
  settings: Readonly<Record<string, string>> = {},
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
    ...settings,
  }
  await step('the Python side must end well', python, [join(import.meta.dirname, script), list], env)
}
