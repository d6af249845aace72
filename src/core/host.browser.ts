import { DeviceError } from './errors.ts'
import type { Host, HostWorker } from './host.ts'

// Written out in full: bundlers find assets and workers by these very expressions. The build puts the files
// beside this one, so that where a bundler leaves the expressions alone, the files are to lie beside the
// bundle.
const wasmUrls = {
  simd128: () => new URL('./lowbit-simd128.wasm', import.meta.url),
  relaxed: () => new URL('./lowbit-relaxed.wasm', import.meta.url),
  'simd128-threads': () => new URL('./lowbit-simd128-threads.wasm', import.meta.url),
  'relaxed-threads': () => new URL('./lowbit-relaxed-threads.wasm', import.meta.url),
}

/** A browser. */
export const host: Host = {
  parallelism: () => navigator.hardwareConcurrency,

  // Browsers do not tell what is free; some tell, rounded, what is built in.
  availableBytes: () => ('deviceMemory' in navigator ? Number(navigator.deviceMemory) * 2 ** 30 : Infinity),

  // A timer would take four milliseconds, and a second on a page that is not seen.
  turn() {
    const { port1, port2 } = new MessageChannel()
    return new Promise((resolve) => {
      port1.onmessage = () => {
        port1.close()
        resolve()
      }
      port2.postMessage(null)
    })
  },

  variable: () => undefined,

  platform: null,

  loadAddon: () => null,

  hasWasm: () => true,

  async readWasm(name) {
    const url = wasmUrls[name]()
    const response = await fetch(url)
    if (!response.ok)
      throw new DeviceError(`wasm ${name}: ${url} must be readable; received status ${response.status}`)
    return new Uint8Array(await response.arrayBuffer())
  },

  startWasmWorker(): HostWorker {
    const worker = new Worker(new URL('./lowbit-worker.js', import.meta.url), { type: 'module' })
    return {
      post: (message, transfer) => worker.postMessage(message, transfer),
      onMessage(listener) {
        worker.onmessage = ({ data }) => listener(data)
      },
      onFailure(listener) {
        worker.onerror = ({ message }) =>
          listener(
            message ?? 'lowbit-worker.js must be served where the bundle looks for it; no worker started',
          )
      },
      keepAlive() {},
      terminate: () => worker.terminate(),
    }
  },
}
