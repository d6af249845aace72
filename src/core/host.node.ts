import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { availableParallelism, freemem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { DeviceError } from './errors.ts'
import type { Host, HostWorker, WasmModuleName } from './host.ts'

// `src/core` and `dist/core` lie equally deep; workers are `.ts` in one and `.js` in the other, beside which
// the package keeps its modules.
const build = '../../build/'
const extension = import.meta.url.slice(import.meta.url.lastIndexOf('.'))

const wasmPath = (name: WasmModuleName) =>
  fileURLToPath(new URL(`${extension === '.js' ? './' : build}lowbit-${name}.wasm`, import.meta.url))

const platform = `${process.platform}-${process.arch}`

/**
 * Packages of the prebuilt addon; npm installs the one that fits. Some installers bring both of Linux: the
 * wrong one does not load.
 */
const addonPackages = (process.platform === 'linux' ? ['-gnu', '-musl'] : ['']).map(
  (libc) => `@lowbit/${platform}${libc}`,
)

/** Node. */
export const host: Host = {
  parallelism: availableParallelism,

  // The limits of containers included, where this Node knows them (from 20.13).
  availableBytes: () => process.availableMemory?.() ?? freemem(),

  turn: () => new Promise((resolve) => setImmediate(resolve)),

  variable: (name) => process.env[name],

  platform,

  loadAddon() {
    const require = createRequire(import.meta.url)
    const built = fileURLToPath(new URL(`${build}lowbit.node`, import.meta.url))
    let failure: DeviceError | null = null
    for (const file of existsSync(built) ? [built] : addonPackages) {
      try {
        return require(file)
      } catch (cause) {
        const { code, message } = cause as NodeJS.ErrnoException
        if (code === 'MODULE_NOT_FOUND') continue
        failure ??= new DeviceError(`native addon: ${file} must load; ${message}`, { cause })
      }
    }
    if (failure) throw failure
    return null
  },

  hasWasm: (name) => existsSync(wasmPath(name)),

  async readWasm(name) {
    const path = wasmPath(name)
    if (!existsSync(path))
      throw new DeviceError(`wasm ${name}: ${path} must exist; run "npm run build", which makes it`)
    try {
      return new Uint8Array(await readFile(path))
    } catch (cause) {
      throw new DeviceError(`wasm ${name}: ${path} must be readable; ${(cause as Error).message}`, { cause })
    }
  },

  startWasmWorker(): HostWorker {
    // No flags: those of the process, such as --input-type, need not suit a file.
    const worker = new Worker(new URL(`../devices/cpu/wasmWorker.node${extension}`, import.meta.url), {
      execArgv: [],
    })
    return {
      post: (message, transfer) => worker.postMessage(message, transfer),
      onMessage(listener) {
        worker.on('message', listener)
        // Listening alone would keep the process alive.
        worker.unref()
      },
      onFailure(listener) {
        worker.on('error', (error) => listener(error.message))
        worker.on('exit', (code) => listener(`its worker exited with code ${code}`))
      },
      keepAlive: (alive) => (alive ? worker.ref() : worker.unref()),
      terminate: () => void worker.terminate(),
    }
  },
}
