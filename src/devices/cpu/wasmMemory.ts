/** Memory grows by pages of this. */
export const pageBytes = 65536

/**
 * Below this the module keeps its stack, its data and what its kernels work in; native/build.mjs checks that
 * they fit.
 */
export const heapStart = 8 * 2 ** 20

/** The stack, the variables and what its kernels work in, of a thread that shares its memory with others. */
export const threadBytes = 2 ** 20

/** Pages that memory may grow to: 4 GiB, or what the engine grants. */
const maximumPages = [65536, 32768, 16384]

/** A memory and the bytes that it may grow to. */
export interface WasmMemory {
  readonly memory: WebAssembly.Memory
  readonly limitBytes: number
}

/** Whether threads may share a memory here; web pages must be cross-origin isolated for it. */
export function canShareMemory(): boolean {
  return typeof SharedArrayBuffer === 'function' && globalThis.crossOriginIsolated !== false
}

/**
 * Reserves address space, of which the first `heapStart` bytes are there; null if the engine does not even
 * grant 1 GiB of it.
 */
export function reserveMemory(shared: boolean): WasmMemory | null {
  for (const maximum of maximumPages) {
    try {
      return {
        memory: new WebAssembly.Memory({ initial: heapStart / pageBytes, maximum, shared }),
        limitBytes: maximum * pageBytes,
      }
    } catch {
      // This engine or machine does not grant as much address space; ask for less.
    }
  }
  return null
}

/** Makes memory reach to the address `end`. Throws if the engine refuses. */
export function growMemory(memory: WebAssembly.Memory, end: number): void {
  const before = memory.buffer.byteLength
  const pages = Math.ceil((end - before) / pageBytes)
  if (pages <= 0) return
  try {
    memory.grow(pages)
  } catch {
    throw new Error(`could not grow memory from ${before} to ${end} bytes`)
  }
}

/** A view of memory, gone with the next growth. */
export function bytesAt(memory: WebAssembly.Memory, address: number, byteLength: number): Uint8Array {
  // Growth by another thread shows in `buffer` only after this one has come to know of it.
  if (address + byteLength > memory.buffer.byteLength) memory.grow(0)
  return new Uint8Array(memory.buffer, address, byteLength)
}
