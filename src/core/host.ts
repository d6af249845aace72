/**
 * What the platform gives: Node or a browser. `import { host } from '#host'` is the one of the two that runs;
 * package.json's `imports` choose it.
 */
export interface Host {
  /** How many threads can run at once. */
  parallelism(): number
  /** Bytes of memory that this process could still take; Infinity where nobody says. */
  availableBytes(): number
  /** Resolves once others have had their turn: what takes long awaits it every few milliseconds. */
  turn(): Promise<void>
  /** A variable of the environment, such as `LOWBIT_ISA`; a browser has none. */
  variable(name: string): string | undefined
  /** Operating system and processor, such as `linux-x64`; null in a browser. */
  readonly platform: string | null
  /**
   * What the native addon exports: `build/lowbit.node` of a clone, else the package for this platform. Null
   * where neither is there.
   * @throws DeviceError if there is one and it does not load.
   */
  loadAddon(): unknown
  /** Whether there is a `build/lowbit-<name>.wasm`; a browser cannot tell before it asks, and hopes so. */
  hasWasm(name: WasmModuleName): boolean
  /** The bytes of `build/lowbit-<name>.wasm`. Rejects with a DeviceError if they are not to be had. */
  readWasm(name: WasmModuleName): Promise<Uint8Array<ArrayBuffer>>
  /** A thread that runs `src/devices/cpu/wasmWorker.ts`. */
  startWasmWorker(): HostWorker
}

/** The instruction sets of WebAssembly: baseline SIMD, and relaxed SIMD with its integer dot product. */
export type WasmVariant = 'simd128' | 'relaxed'

/**
 * The modules that the build makes: one for each instruction set, and one that shares its memory among
 * threads.
 */
export type WasmModuleName = WasmVariant | `${WasmVariant}-threads`

/** A worker thread, seen from the thread that started it. */
export interface HostWorker {
  post(message: unknown, transfer: ArrayBuffer[]): void
  onMessage(listener: (message: unknown) => void): void
  /** Calls the listener with the reason if the thread ends or fails by itself. */
  onFailure(listener: (reason: string) => void): void
  /** Whether the thread keeps the process alive; at first it does not. No matter in a browser. */
  keepAlive(alive: boolean): void
  terminate(): void
}
