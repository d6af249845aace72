import { host } from '#host'
import { DeviceError } from '../../core/errors.ts'
import type { HostWorker, WasmVariant } from '../../core/host.ts'
import type { Backend } from '../backend.ts'
import { Heap } from './heap.ts'
import type { WasmAnswer, WasmCommand } from './wasmWorker.ts'

export interface WasmOptions {
  /** Default: relaxed where the engine has it. */
  variant?: WasmVariant
}

/** Below this the module keeps its stack and data; native/build.mjs checks that they fit. */
const heapStart = 8 * 2 ** 20
const heapLimit = 2 ** 32
/** Memory grows by multiples of this. */
const growthBytes = 16 * 2 ** 20
/** Bytes of writes that may gather in a message before it is sent. */
const batchBytesLimit = 4 * 2 ** 20

/** A module whose only function swizzles with `i8x16.relaxed_swizzle`. */
const relaxedProbe = new Uint8Array([
  ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
  ...[0x01, 0x05, 0x01, 0x60, 0x00, 0x01, 0x7b, 0x03, 0x02, 0x01, 0x00],
  ...[0x0a, 0x0f, 0x01, 0x0d, 0x00, 0x41, 0x01, 0xfd, 0x0f, 0x41, 0x02, 0xfd, 0x0f, 0xfd, 0x80, 0x02, 0x0b],
])

/** The variants that this JavaScript engine can run, best first. */
export function wasmVariants(): WasmVariant[] {
  return WebAssembly.validate(relaxedProbe) ? ['relaxed', 'simd128'] : ['simd128']
}

/**
 * WebAssembly in a worker, one thread, at most 4 GiB.
 * @throws DeviceError if the engine cannot run the variant.
 */
export function openWasm(options: WasmOptions = {}): Backend {
  const variants = wasmVariants()
  const variant = options.variant ?? variants[0]
  if (!variants.includes(variant)) {
    throw new DeviceError(`openWasm: variant must be one of ${variants.join(', ')} in this engine; received ${JSON.stringify(variant)}`)
  }
  return new WasmBackend(variant)
}

interface PendingRead {
  target: Uint8Array
  resolve(): void
  reject(error: DeviceError): void
}

class WasmBackend implements Backend {
  readonly name: string
  readonly threads = 1
  private readonly worker: HostWorker
  private readonly heap = new Heap(heapStart, heapLimit)
  private readonly pending = new Map<number, PendingRead>()
  private lastRead = 0
  /** Where the worker's memory ends once it has followed all commands. */
  private memoryEnd = heapStart
  private batch: WasmCommand[] = []
  private transfer: ArrayBuffer[] = []
  private batchBytes = 0
  /** Whether a microtask will send the batch. */
  private scheduled = false
  /** The module has been sent: commands may follow. */
  private started = false
  private failure: DeviceError | null = null
  private closing: Promise<void> | null = null

  constructor(variant: WasmVariant) {
    this.name = `wasm ${variant}`
    this.worker = host.startWasmWorker()
    this.worker.onMessage((message) => this.receive(message as WasmAnswer))
    this.worker.onFailure((reason) => this.fail(new DeviceError(`${this.name}: ${reason}`)))
    host.readWasm(variant).then(
      (module) => {
        if (this.failure) return
        this.worker.post([{ kind: 'open', module, heapStart } satisfies WasmCommand], [module.buffer])
        this.started = true
        this.send()
      },
      (error) => this.fail(error instanceof DeviceError ? error : new DeviceError(`${this.name}: ${error.message}`, { cause: error })),
    )
  }

  allocate(bytes: number): number {
    this.checkOpen()
    if (this.failure) throw this.failure
    const address = this.heap.allocate(bytes)
    if (address === null) {
      throw new DeviceError(`${this.name}: could not allocate ${bytes} bytes; its memory of ${heapLimit} bytes is taken up to ${this.heap.end}`)
    }
    if (this.heap.end > this.memoryEnd) {
      this.memoryEnd = Math.ceil(this.heap.end / growthBytes) * growthBytes
      this.push({ kind: 'grow', end: this.memoryEnd })
    }
    return address
  }

  free(address: number, _bytes: number): void {
    this.heap.release(address)
  }

  write(address: number, bytes: Uint8Array): void {
    this.checkOpen()
    const copy = new Uint8Array(bytes)
    this.push({ kind: 'write', address, bytes: copy }, copy.buffer)
  }

  run(list: Float64Array): void {
    this.checkOpen()
    const whole = list.buffer.byteLength === list.byteLength ? list : list.slice()
    this.push({ kind: 'run', list: whole }, whole.buffer as ArrayBuffer)
  }

  async read(address: number, target: Uint8Array): Promise<void> {
    this.checkOpen()
    await this.request(address, target)
  }

  close(): Promise<void> {
    this.closing ??= this.request(heapStart, new Uint8Array(0))
      .catch(() => {})
      .then(() => {
        this.failure ??= this.closedError()
        this.worker.terminate()
      })
    return this.closing
  }

  private request(address: number, target: Uint8Array): Promise<void> {
    if (this.failure) return Promise.reject(this.failure)
    return new Promise((resolve, reject) => {
      const id = ++this.lastRead
      this.pending.set(id, { target, resolve, reject })
      this.worker.keepAlive(true)
      this.push({ kind: 'read', id, address, byteLength: target.byteLength })
    })
  }

  private push(command: WasmCommand, buffer?: ArrayBuffer): void {
    if (this.failure) return
    this.batch.push(command)
    if (buffer) {
      this.transfer.push(buffer)
      this.batchBytes += buffer.byteLength
    }
    if (this.batchBytes > batchBytesLimit) this.send()
    else if (!this.scheduled) {
      this.scheduled = true
      queueMicrotask(() => {
        this.scheduled = false
        this.send()
      })
    }
  }

  private send(): void {
    if (!this.started || this.batch.length === 0) return
    this.worker.post(this.batch, this.transfer)
    this.batch = []
    this.transfer = []
    this.batchBytes = 0
  }

  private receive(answer: WasmAnswer): void {
    if (answer.kind === 'failed') {
      this.fail(new DeviceError(`${this.name}: ${answer.message}`))
      return
    }
    const read = this.pending.get(answer.id)
    if (!read) return
    this.pending.delete(answer.id)
    if (this.pending.size === 0) this.worker.keepAlive(false)
    read.target.set(answer.bytes)
    read.resolve()
  }

  private fail(error: DeviceError): void {
    if (this.failure) return
    this.failure = error
    this.batch = []
    this.transfer = []
    for (const read of this.pending.values()) read.reject(error)
    this.pending.clear()
    this.worker.terminate()
  }

  private checkOpen(): void {
    if (this.closing) throw this.closedError()
  }

  private closedError(): DeviceError {
    return new DeviceError(`${this.name}: the device must be open; it was closed`)
  }
}
