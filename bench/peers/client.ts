import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { findPython } from '../../test/interop/python.ts'
import type { LowbitOptions } from './lowbit.ts'
import { type ModelPeerName, modelPeers } from './modelPeers.ts'
import type { LoadReport, Request, RunOptions, RunReport } from './worker.ts'

/** A process that answers requests, one at a time: both are JSON, one a line. */
export class Answerer {
  private readonly child: ChildProcess
  private readonly lines: AsyncIterator<string>

  /** @param file beside this one */
  constructor(interpreter: string, file: string, argument: string) {
    const path = fileURLToPath(new URL(file, import.meta.url))
    const options = interpreter === process.execPath ? process.execArgv : []
    this.child = spawn(interpreter, [...options, path, argument], { stdio: ['pipe', 'pipe', 'inherit'] })
    if (!this.child.stdout) throw new Error(`${file}: has no output`)
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]()
  }

  close(): void {
    this.child.kill()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  async ask<R extends { call: string }>(request: R): Promise<unknown> {
    this.child.stdin?.write(JSON.stringify(request) + '\n')
    // A library may print lines of its own.
    for (;;) {
      const { value, done } = await this.lines.next()
      if (done) throw new Error(`${this.child.spawnargs.at(-2)}: ended before it answered ${request.call}`)
      if (!value.startsWith('{')) continue
      const reply = JSON.parse(value) as { result?: unknown; error?: string }
      if (reply.error !== undefined) throw new Error(reply.error)
      return reply.result
    }
  }
}

/** A worker that loads a model and continues token ids. */
export class Client extends Answerer {
  static lowbit(options: LowbitOptions): Client {
    return new Client(process.execPath, 'lowbit.ts', JSON.stringify(options))
  }

  static async peer(model: string, name: ModelPeerName = 'llama.cpp'): Promise<Client> {
    const { python, folder, worker } = modelPeers[name]
    return new Client(python ? await findPython(folder, 'bench/peers') : process.execPath, worker, model)
  }

  load(watch = false): Promise<LoadReport> {
    return this.ask<Request>({ call: 'load', watch }) as Promise<LoadReport>
  }

  run(options: RunOptions): Promise<RunReport> {
    return this.ask<Request>({ call: 'run', ...options }) as Promise<RunReport>
  }

  encode(text: string): Promise<number[]> {
    return this.ask<Request>({ call: 'encode', text }) as Promise<number[]>
  }

  probe(): Promise<number[]> {
    return this.ask<Request>({ call: 'probe' }) as Promise<number[]>
  }

  /** The most memory that the process ever held, in bytes. */
  memory(): Promise<number> {
    return this.ask<Request>({ call: 'memory' }) as Promise<number>
  }
}

/**
 * Installs a library's packages beside this file unless they are there; false where that fails. Python's come
 * with the first process.
 */
export const installPeer = (name: ModelPeerName = 'llama.cpp'): boolean =>
  modelPeers[name].python ?? install(modelPeers[name].folder, modelPeers[name].packages)

/** Installs what the manifest of a folder beside this file names, unless these packages are there. */
export function install(folder: string, names: readonly string[]): boolean {
  const path = new URL(`${folder}/`, import.meta.url)
  if (names.every((name) => existsSync(new URL(`node_modules/${name}/package.json`, path)))) return true
  // llama.cpp's binaries for GPUs are optional dependencies (600 MB). Those for CPUs are dependencies of our
  // package, and --force passes over the ones for another kind. Not "npm ci", which wants the optional ones
  // in the lock file. Install scripts would only compile.
  const flags = [
    '--no-save',
    '--omit=optional',
    '--force',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ]
  const npm = spawnSync('npm', ['install', ...flags], {
    cwd: fileURLToPath(path),
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  })
  return npm.status === 0
}
