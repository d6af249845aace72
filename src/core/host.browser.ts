import { DeviceError } from './errors.ts'
import type { Host, HostWorker } from './host.ts'

// Written out in full: bundlers find assets and workers by these very expressions.
const wasmUrls = {
  simd128: () => new URL('../../build/lowbit-simd128.wasm', import.meta.url),
  relaxed: () => new URL('../../build/lowbit-relaxed.wasm', import.meta.url),
}

/** A browser. */
export const host: Host = {
  parallelism: () => navigator.hardwareConcurrency,

  variable: () => undefined,

  loadAddon: () => null,

  async readWasm(variant) {
    const url = wasmUrls[variant]()
    const response = await fetch(url)
    if (!response.ok) throw new DeviceError(`wasm ${variant}: ${url} must be readable; received status ${response.status}`)
    return new Uint8Array(await response.arrayBuffer())
  },

  startWasmWorker(): HostWorker {
    const worker = new Worker(new URL('../devices/cpu/wasmWorker.browser.js', import.meta.url), { type: 'module' })
    return {
      post: (message, transfer) => worker.postMessage(message, transfer),
      onMessage(listener) {
        worker.onmessage = ({ data }) => listener(data)
      },
      onFailure(listener) {
        worker.onerror = ({ message }) => listener(message ?? 'its worker did not start')
      },
      keepAlive() {},
      terminate: () => worker.terminate(),
    }
  },
}
