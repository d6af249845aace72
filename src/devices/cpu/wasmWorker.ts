import { bytesAt, growMemory, heapStart, reserveMemory, threadBytes } from './wasmMemory.ts'

/** A thread's place in a shared memory: where the `threadBytes` of its stack and variables begin. */
export interface ThreadPlace {
  readonly memory: WebAssembly.Memory
  readonly block: number
}

/** What the main side sends, in order; each message is an array of these. */
export type WasmCommand =
  /** The first: this worker executes commands, and leads `threads` threads if memory is shared. */
  | { kind: 'open'; module: WebAssembly.Module; place: ThreadPlace | null; threads: number }
  /** The first and only: this worker takes part in what the leader runs. */
  | { kind: 'work'; module: WebAssembly.Module; place: ThreadPlace }
  /** Memory must reach to the address `end`. */
  | { kind: 'grow'; end: number }
  | { kind: 'write'; address: number; bytes: Uint8Array }
  /** No flag is 0; else its address. */
  | { kind: 'run'; list: Float64Array; flag: number; ticket: number }
  | { kind: 'read'; id: number; address: number; byteLength: number }

/** What the worker answers; after `failed` nothing follows. */
export type WasmAnswer =
  /** To `open`: how far memory may grow. */
  | { kind: 'opened'; limitBytes: number }
  /** To `work`, before it begins. */
  | { kind: 'working' }
  | { kind: 'read'; id: number; bytes: Uint8Array<ArrayBuffer> }
  | { kind: 'failed'; message: string }

/** The side of the channel that a worker sees. */
export interface WasmPort {
  post(answer: WasmAnswer, transfer: ArrayBuffer[]): void
  onMessage(listener: (commands: WasmCommand[]) => void): void
}

/** What native/wasm.cc exports. */
interface WasmExports {
  list(): number
  capacity(): number
  run(count: number, flag: number, ticket: number): number
  /** The calling thread's kernels work in the memory between these addresses. */
  scratch(start: number, end: number): void
  __heap_base: WebAssembly.Global
}

/** What it exports besides where memory is shared. */
interface ThreadExports extends WasmExports {
  lead(threads: number): void
  /** Never returns. */
  work(): void
  __stack_pointer: WebAssembly.Global
  __tls_size: WebAssembly.Global
  __wasm_init_tls(address: number): void
}

/** What a thread's block has of stack; behind it lie its variables, and what its kernels work in. */
const stackBytes = threadBytes / 2

/** Executes the commands that come through `port`. */
export function serveWasm(port: WasmPort): void {
  let executor: Executor | null = null
  let failed = false
  port.onMessage((commands) => {
    if (failed) return
    try {
      for (const command of commands) {
        if (command.kind === 'open') {
          executor = new Executor(command)
          port.post({ kind: 'opened', limitBytes: executor.limitBytes }, [])
        } else if (command.kind === 'work') {
          const { work } = enter(instantiate(command.module, command.place.memory), command.place)
          port.post({ kind: 'working' }, [])
          work()
        } else if (executor === null) throw new Error(`${command.kind}: the first command must be open`)
        else if (command.kind === 'grow') growMemory(executor.memory, command.end)
        else if (command.kind === 'write')
          bytesAt(executor.memory, command.address, command.bytes.length).set(command.bytes)
        else if (command.kind === 'run') executor.run(command)
        else {
          const bytes = new Uint8Array(bytesAt(executor.memory, command.address, command.byteLength))
          port.post({ kind: 'read', id: command.id, bytes }, [bytes.buffer])
        }
      }
    } catch (error) {
      failed = true
      port.post({ kind: 'failed', message: error instanceof Error ? error.message : String(error) }, [])
    }
  })
}

function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory): WebAssembly.Exports {
  return new WebAssembly.Instance(module, { env: { memory, now: () => performance.now() } }).exports
}

/** Gives this thread a stack, thread-local variables, and memory that its kernels work in, of its own. */
function enter(exports: WebAssembly.Exports, { block }: ThreadPlace): ThreadExports {
  const thread = exports as unknown as ThreadExports
  // The stack grows down from the variables.
  const stackEnd = block + stackBytes
  thread.__stack_pointer.value = stackEnd
  thread.__wasm_init_tls(stackEnd)
  const variables: number = thread.__tls_size.value
  thread.scratch(aligned(stackEnd + variables), block + threadBytes)
  return thread
}

/** The next multiple of 64. */
const aligned = (address: number) => Math.ceil(address / 64) * 64

/** A memory, its own or shared with other threads, and the kernels that work on it. */
class Executor {
  readonly memory: WebAssembly.Memory
  readonly limitBytes: number
  private readonly exports: WasmExports

  constructor({ module, place, threads }: Extract<WasmCommand, { kind: 'open' }>) {
    const reserved = place ? { memory: place.memory, limitBytes: Infinity } : reserveMemory(false)
    if (!reserved) throw new Error('open: could not reserve 1 GiB of address space')
    this.memory = reserved.memory
    this.limitBytes = reserved.limitBytes
    const exports = instantiate(module, this.memory)
    this.exports = exports as unknown as WasmExports
    const base: number = this.exports.__heap_base.value
    if (base > heapStart)
      throw new Error(`open: stack and data of the module must end below ${heapStart}; they end at ${base}`)
    if (place) enter(exports, place).lead(threads)
    else this.exports.scratch(aligned(base), heapStart)
  }

  /** Executes a command list in pieces of whole records that fit the module's buffer. */
  run({ list, flag, ticket }: Extract<WasmCommand, { kind: 'run' }>): void {
    const capacity = this.exports.capacity()
    const words = new Float64Array(this.memory.buffer, this.exports.list(), capacity)
    for (let at = 0; at < list.length; ) {
      const piece = list.subarray(at, at + capacity)
      words.set(piece)
      const taken = this.exports.run(piece.length, flag, ticket)
      if (taken === 0) {
        const received = `kernel id ${list[at]} at word ${at} of ${list.length}`
        throw new Error(`run: a list must hold whole records of known kernels; received ${received}`)
      }
      at += taken
    }
  }
}
