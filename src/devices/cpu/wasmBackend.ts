import { host } from '#host'
import { DeviceError } from '../../core/errors.ts'
import type { HostWorker, WasmModuleName, WasmVariant } from '../../core/host.ts'
import type { Backend, Stop } from '../backend.ts'
import { Heap } from './heap.ts'
import { bytesAt, growMemory, heapStart, threadBytes, type WasmMemory } from './wasmMemory.ts'
import type { ThreadPlace, WasmAnswer, WasmCommand } from './wasmWorker.ts'

const heapLimit = 2 ** 32
/** Memory grows by multiples of this. */
const growthBytes = 16 * 2 ** 20
/** Int32s of a shared memory by which the host stops what its threads run. */
const sharedStopFlags = 64
/** Bytes of writes that may gather in a message before it is sent. */
const batchBytesLimit = 4 * 2 ** 20

interface PendingRead {
  target: Uint8Array
  /** Commands issued up to this one. */
  issued: number
  resolve(): void
  reject(error: DeviceError): void
}

/**
 * The main thread's side: it hands out addresses and sends commands to a worker, which executes them in
 * order. A memory that is shared is made here and grown here; otherwise the worker has one of its own.
 */
export class WasmBackend implements Backend {
  readonly name: string
  /** Falls where a worker does not start. */
  threads: number
  readonly stopFlags: number
  private readonly leader: HostWorker
  /** The other workers of a shared memory. */
  private readonly followers: HostWorker[] = []
  private readonly memory: WebAssembly.Memory | null
  /** Where the flags begin. */
  private readonly flags: number
  private readonly heap: Heap
  private readonly pending = new Map<number, PendingRead>()
  private lastRead = 0
  /** Commands sent or about to be, and how many of them are known to be done. */
  private issued = 0
  private done = 0
  /** Where memory ends once the worker has followed all commands. */
  private memoryEnd = heapStart
  private batch: WasmCommand[] = []
  private transfer: ArrayBuffer[] = []
  private batchBytes = 0
  /** Whether a microtask will send the batch. */
  private scheduled = false
  /** The module has been sent: commands may follow. */
  private started = false
  private warned = false
  private failure: DeviceError | null = null
  private closing: Promise<void> | null = null

  /** `shared`: the memory that `threads` threads share; null for one thread with a memory of its own. */
  constructor(variant: WasmVariant, threads: number, shared: WasmMemory | null) {
    const module: WasmModuleName = shared ? `${variant}-threads` : variant
    this.name = `wasm ${module}`
    this.threads = shared ? threads : 1
    this.memory = shared?.memory ?? null
    this.stopFlags = shared ? sharedStopFlags : 0
    // The threads' blocks and the flags, zero at first, lie below the heap.
    this.flags = this.place(shared ? threads : 0)
    this.heap = new Heap(this.flags + 4 * this.stopFlags, shared?.limitBytes ?? heapLimit)
    if (shared) this.grow(this.heap.end)
    this.leader = this.startWorker()
    this.leader.onMessage((message) => this.receive(message as WasmAnswer))
    this.leader.onFailure((reason) => this.fail(new DeviceError(`${this.name}: ${reason}`)))
    this.start(module, this.threads).catch((error) => {
      this.fail(
        error instanceof DeviceError
          ? error
          : new DeviceError(`${this.name}: ${error.message}`, { cause: error }),
      )
    })
  }

  availableBytes(): number {
    const { reused, unused } = this.heap.availableBytes
    return reused + Math.min(unused, host.availableBytes())
  }

  allocate(bytes: number): number {
    this.checkOpen()
    if (this.failure) throw this.failure
    const address = this.heap.allocate(bytes)
    if (address === null) {
      const { end, limit } = this.heap
      throw new DeviceError(
        `${this.name}: could not allocate ${bytes} bytes; its memory of ${limit} bytes is taken up to ${end}`,
      )
    }
    if (this.heap.end <= this.memoryEnd) return address
    try {
      this.grow(Math.ceil(this.heap.end / growthBytes) * growthBytes)
      return address
    } catch (error) {
      this.heap.release(address)
      this.heap.lowerEnd(this.memoryEnd)
      throw error
    }
  }

  free(address: number, _bytes: number): void {
    this.heap.release(address)
  }

  write(address: number, bytes: Uint8Array): void {
    this.checkOpen()
    // Nothing to wait for: spare the copy of a copy.
    if (this.memory && this.issued === this.done) bytesAt(this.memory, address, bytes.length).set(bytes)
    else {
      const copy = new Uint8Array(bytes)
      this.push({ kind: 'write', address, bytes: copy }, copy.buffer)
    }
  }

  async upload(address: number, bytes: Uint8Array): Promise<void> {
    this.write(address, bytes)
    // Copied at once; what the worker has not taken yet would pile up.
    if (this.issued !== this.done) await this.read(heapStart, new Uint8Array(0))
  }

  run(list: Float64Array, stop?: Stop): void {
    this.checkOpen()
    const whole = list.buffer.byteLength === list.byteLength ? list : list.slice()
    const command = {
      kind: 'run',
      list: whole,
      flag: stop ? this.flagAddress(stop) : 0,
      ticket: stop?.ticket ?? 0,
    } as const
    this.push(command, whole.buffer as ArrayBuffer)
  }

  raise(stop: Stop): void {
    if (this.memory)
      Atomics.store(new Int32Array(this.memory.buffer), this.flagAddress(stop) / 4, stop.ticket)
  }

  private flagAddress({ flag }: Stop): number {
    return this.flags + 4 * flag
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
        this.terminate()
      })
    return this.closing
  }

  /** Where the block of a thread begins. */
  private place(thread: number): number {
    return heapStart + thread * threadBytes
  }

  private async start(name: WasmModuleName, threads: number): Promise<void> {
    const module = await WebAssembly.compile(await host.readWasm(name))
    if (this.failure) return
    const { memory } = this
    const place = memory && { memory, block: this.place(0) }
    this.leader.post([{ kind: 'open', module, place, threads } satisfies WasmCommand], [])
    this.started = true
    this.send()
    if (memory)
      for (let thread = 1; thread < threads; thread++)
        this.follow(module, { memory, block: this.place(thread) })
  }

  private startWorker(): HostWorker {
    try {
      return host.startWasmWorker()
    } catch (cause) {
      throw new DeviceError(`${this.name}: a worker must start; ${(cause as Error).message}`, { cause })
    }
  }

  /** Starts a worker beside the leader. */
  private follow(module: WebAssembly.Module, place: ThreadPlace): void {
    let state: 'starting' | 'working' | 'lost' = 'starting'
    const lose = (reason: string) => {
      if (this.failure || state === 'lost') return
      // Within a kernel nobody can take over what it had begun.
      if (state === 'working') this.fail(new DeviceError(`${this.name}: ${reason}`))
      else this.warn(reason)
      state = 'lost'
    }
    try {
      const worker = host.startWasmWorker()
      this.followers.push(worker)
      worker.onFailure(lose)
      worker.onMessage((message) => {
        const answer = message as WasmAnswer
        if (answer.kind === 'working') state = 'working'
        else if (answer.kind === 'failed') lose(answer.message)
      })
      worker.post([{ kind: 'work', module, place } satisfies WasmCommand], [])
    } catch (error) {
      lose((error as Error).message)
    }
  }

  /** Says that the work goes on with one thread less. */
  private warn(reason: string): void {
    this.threads--
    if (!this.warned)
      console.warn(`lowbit: ${this.name}: a worker did not start (${reason}); going on with fewer threads`)
    this.warned = true
  }

  /** Makes memory reach to `end`; one that is shared at once, the worker's when it comes to it. */
  private grow(end: number): void {
    if (this.memory) {
      try {
        growMemory(this.memory, end)
      } catch (error) {
        throw new DeviceError(`${this.name}: ${(error as Error).message}`, { cause: error })
      }
    } else this.push({ kind: 'grow', end })
    this.memoryEnd = end
  }

  private request(address: number, target: Uint8Array): Promise<void> {
    if (this.failure) return Promise.reject(this.failure)
    return new Promise((resolve, reject) => {
      const id = ++this.lastRead
      this.leader.keepAlive(true)
      this.push({ kind: 'read', id, address, byteLength: target.byteLength })
      this.pending.set(id, { target, issued: this.issued, resolve, reject })
    })
  }

  private push(command: WasmCommand, buffer?: ArrayBuffer): void {
    if (this.failure) return
    this.issued++
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
    this.leader.post(this.batch, this.transfer)
    this.batch = []
    this.transfer = []
    this.batchBytes = 0
  }

  private receive(answer: WasmAnswer): void {
    if (answer.kind === 'failed') this.fail(new DeviceError(`${this.name}: ${answer.message}`))
    else if (answer.kind === 'opened') this.heap.limitTo(answer.limitBytes)
    else if (answer.kind === 'read') this.finish(answer.id, answer.bytes)
  }

  private finish(id: number, bytes: Uint8Array): void {
    const read = this.pending.get(id)
    if (!read) return
    this.pending.delete(id)
    if (this.pending.size === 0) this.leader.keepAlive(false)
    this.done = read.issued
    read.target.set(bytes)
    read.resolve()
  }

  private fail(error: DeviceError): void {
    if (this.failure) return
    this.failure = error
    this.batch = []
    this.transfer = []
    for (const read of this.pending.values()) read.reject(error)
    this.pending.clear()
    this.terminate()
  }

  private terminate(): void {
    for (const worker of [this.leader, ...this.followers]) worker.terminate()
  }

  private checkOpen(): void {
    if (this.closing) throw this.closedError()
  }

  private closedError(): DeviceError {
    return new DeviceError(`${this.name}: the device must be open; it was closed`)
  }
}
