/** What the main side sends, in order; each message is an array of these. */
export type WasmCommand =
  | { kind: 'open'; module: Uint8Array<ArrayBuffer>; heapStart: number }
  /** Memory must reach to the address `end`. */
  | { kind: 'grow'; end: number }
  | { kind: 'write'; address: number; bytes: Uint8Array }
  | { kind: 'run'; list: Float64Array }
  | { kind: 'read'; id: number; address: number; byteLength: number }

/** What the worker answers; after `failed` nothing follows. */
export type WasmAnswer = { kind: 'read'; id: number; bytes: Uint8Array<ArrayBuffer> } | { kind: 'failed'; message: string }

/** The side of the channel that a worker sees. */
export interface WasmPort {
  post(answer: WasmAnswer, transfer: ArrayBuffer[]): void
  onMessage(listener: (commands: WasmCommand[]) => void): void
}

/** What native/wasm.cc exports. */
interface WasmExports {
  list(): number
  capacity(): number
  run(count: number): number
  __heap_base: WebAssembly.Global
}

const pageBytes = 65536
/** Pages that memory may grow to: 4 GiB, or what the engine grants. */
const maximumPages = [65536, 32768, 16384]

/** Owns a WebAssembly memory and executes the commands that come through `port`. */
export function serveWasm(port: WasmPort): void {
  let module: WasmModule | null = null
  let failed = false
  port.onMessage((commands) => {
    if (failed) return
    try {
      for (const command of commands) {
        if (command.kind === 'open') module = new WasmModule(command.module, command.heapStart)
        else if (module === null) throw new Error(`${command.kind}: the first command must be open`)
        else if (command.kind === 'grow') module.grow(command.end)
        else if (command.kind === 'write') module.bytesAt(command.address, command.bytes.length).set(command.bytes)
        else if (command.kind === 'run') module.run(command.list)
        else {
          const bytes = module.bytesAt(command.address, command.byteLength).slice()
          port.post({ kind: 'read', id: command.id, bytes }, [bytes.buffer])
        }
      }
    } catch (error) {
      failed = true
      port.post({ kind: 'failed', message: error instanceof Error ? error.message : String(error) }, [])
    }
  })
}

class WasmModule {
  private readonly memory: WebAssembly.Memory
  private readonly exports: WasmExports

  constructor(bytes: Uint8Array<ArrayBuffer>, heapStart: number) {
    this.memory = reserve(heapStart / pageBytes)
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory: this.memory } })
    this.exports = instance.exports as unknown as WasmExports
    const base: number = this.exports.__heap_base.value
    if (base > heapStart) throw new Error(`open: stack and data of the module must end below ${heapStart}; they end at ${base}`)
  }

  grow(end: number): void {
    const pages = Math.ceil((end - this.memory.buffer.byteLength) / pageBytes)
    if (pages <= 0) return
    try {
      this.memory.grow(pages)
    } catch {
      throw new Error(`could not grow memory from ${this.memory.buffer.byteLength} to ${end} bytes`)
    }
  }

  /** A view, gone with the next growth. */
  bytesAt(address: number, byteLength: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.memory.buffer as ArrayBuffer, address, byteLength)
  }

  /** Executes a command list in pieces of whole records that fit the module's buffer. */
  run(list: Float64Array): void {
    const capacity = this.exports.capacity()
    const words = new Float64Array(this.memory.buffer, this.exports.list(), capacity)
    for (let at = 0; at < list.length; ) {
      const piece = list.subarray(at, at + capacity)
      words.set(piece)
      const taken = this.exports.run(piece.length)
      if (taken === 0) {
        const received = `kernel id ${list[at]} at word ${at} of ${list.length}`
        throw new Error(`run: a list must hold whole records of known kernels; received ${received}`)
      }
      at += taken
    }
  }
}

function reserve(initial: number): WebAssembly.Memory {
  for (const maximum of maximumPages) {
    try {
      return new WebAssembly.Memory({ initial, maximum })
    } catch {
      // This engine or machine does not grant as much address space; ask for less.
    }
  }
  throw new Error(`open: could not reserve ${(maximumPages[maximumPages.length - 1] * pageBytes) / 2 ** 30} GiB of address space`)
}
