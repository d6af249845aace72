import type { Bytes } from '../core/dtype.ts'
import { DeviceError, DTypeError, ShapeError } from '../core/errors.ts'
import { inspect } from '../core/inspect.ts'
import { instanceOf, isObject, type Kind, show } from '../core/kinds.ts'
import type { ArrayArgument, ScalarArgument, Signature } from '../kernels/signature.ts'
import { type KernelName, signatures } from '../kernels/signatures.ts'
import type { Backend, Stop } from './backend.ts'
import { type Argument, CommandList, type KernelArguments, Records, Scalar } from './commandList.ts'
import { Pool } from './pool.ts'
import { type SignalStop, Stops } from './stops.ts'
import { type Region, Storage } from './storage.ts'

/** Calls that wait to be handed to the queue: enough to spare messages, few enough to start early. */
const callsPerSubmit = 32

/**
 * Bytes of writes that may wait in the queue before a loader waits for it: enough to keep it busy while the
 * next tensor is read.
 */
const waitingBytesLimit = 64 * 2 ** 20

/** More than any process can address. */
const addressSpaceBytes = 2 ** 47
/** Kernels count in 32 bits. */
const int32Max = 2 ** 31 - 1

/** What a kernel takes at one place: small numbers, since every argument of every call is held against it. */
const [aNumber, anInt32, anArray, anOptionalArray] = [0, 1, 2, 3]

/** What each kernel takes, by its id. */
const expected = Object.values<Signature>(signatures).map(({ args }) => Uint8Array.from(args, placeOf))

function placeOf(parameter: ArrayArgument | ScalarArgument): number {
  if (parameter.direction !== 'scalar') return parameter.optional ? anOptionalArray : anArray
  return parameter.type === 'i32' ? anInt32 : aNumber
}

/** Where kernels run: memory and a queue. Only what gives a promise waits for the queue. */
export class Device {
  private readonly backend: Backend
  private readonly pool: Pool
  private readonly records = new Records(false)
  /** What is being recorded to be kept, with the pool of its buffers. */
  private capturing: { records: Records; pool: Pool } | undefined
  private closed = false
  private readonly stops: Stops
  /** What stops what is recorded now. */
  private stop: Stop | undefined
  /** Bytes in live storages. */
  allocatedBytes = 0
  /** The most that `allocatedBytes` has been; whoever measures sets it to that first. */
  peakBytes = 0
  /** What was written since a call of `settled`, and when the queue will have taken it; oldest first. */
  private readonly waiting: { bytes: number; taken: Promise<void> }[] = []
  private waitingBytes = 0
  /** Bytes written since the last call. */
  private writtenBytes = 0

  constructor(backend: Backend) {
    this.backend = backend
    this.pool = new Pool(this, backend)
    this.stops = new Stops(backend)
  }

  /** For example `native avx512` or `wasm relaxed-threads`. */
  get name(): string {
    return this.backend.name
  }

  /** Whether it was not closed. */
  get open(): boolean {
    return !this.closed
  }

  get threads(): number {
    return this.backend.threads
  }

  /** Bytes that could still be allocated, as far as backend and platform say. */
  get availableBytes(): number {
    return this.backend.availableBytes()
  }

  /**
   * A block of at least `bytes` bytes, 64-byte aligned, its content undefined.
   * @throws DeviceError if the memory is not to be had.
   */
  allocate(bytes: number): Storage {
    if (this.closed) throw new DeviceError(`${this.name}: the device is closed`)
    if (!(bytes <= addressSpaceBytes))
      throw new DeviceError(`${this.name}: could not allocate ${bytes} bytes`)
    return (this.capturing?.pool ?? this.pool).allocate(bytes)
  }

  /**
   * A block that the system keeps in a file of `folder` while it is short of memory: for what is larger than
   * memory, and slower for it. It does not count as allocated.
   * @throws DeviceError if the device has no such memory, or the folder or the room is not to be had
   */
  allocateOnDisk(folder: string, bytes: number): Storage {
    const { backend } = this
    if (this.closed) throw new DeviceError(`${this.name}: the device is closed`)
    if (!backend.allocateOnDisk)
      throw new DeviceError(`${this.name}: the device must be native, to keep values on disk`)
    const size = Math.max(bytes, 64)
    const recycle = () => {
      if (this.closed) return
      this.flush()
      backend.free(address, size)
    }
    const address = backend.allocateOnDisk(folder, size)
    return new Storage(this, { recycle, onDisk: true }, address, size)
  }

  /** Gives the blocks that wait for reuse back to the system, unless they are at most so many bytes. */
  trim(keptBytes = 0): void {
    this.pool.trim(keptBytes)
  }

  /**
   * Appends one kernel call to the command list; the names of the arguments are those of `kernels.def`.
   * @throws DTypeError, ShapeError or DeviceError if an argument is missing or is none that the kernel may
   * get
   */
  call<Name extends KernelName>(kernel: Name, args: KernelArguments<Name>): void {
    const { id, args: parameters, inOrder } = signatures[kernel]
    const places = expected[id]
    const values = inOrder(args) as Argument[]
    for (let i = 0; i < values.length; i++)
      if (!this.fits(values[i], places[i])) throw this.misfit(kernel, values[i], parameters[i])
    if (this.capturing) {
      this.capturing.records.push(id, values)
      return
    }
    this.records.push(id, values)
    if (this.records.count >= callsPerSubmit) this.flush()
  }

  /** Whether a kernel may get this argument: a wrong one would be taken for an address. */
  private fits(arg: Argument, place: number): boolean {
    if (typeof arg === 'number') return place === aNumber || (place === anInt32 && arg <= int32Max)
    if (arg == null) return place === anOptionalArray
    if (arg instanceof Scalar) return place <= anInt32
    return place >= anArray && this.holds(arg)
  }

  private holds(region: Region): boolean {
    const storage: Storage | undefined = region?.storage
    return storage?.device === this && storage.alive
  }

  private misfit(
    kernel: string,
    arg: Argument,
    { name, type, direction }: ArrayArgument | ScalarArgument,
  ): Error {
    if (direction !== 'scalar') return this.notHeld(kernel, name, arg)
    const must =
      typeof arg === 'number'
        ? `a number, at most ${int32Max}`
        : type === 'i32'
          ? 'a whole number'
          : 'a number'
    return new ShapeError(`${kernel}: ${name} must be ${must}; received ${show(arg)}`)
  }

  private notHeld(operation: string, name: string, arg: unknown): Error {
    const storage = isObject(arg) && 'storage' in arg ? (arg as unknown as Region).storage : undefined
    if (!storage) return new DTypeError(`${operation}: ${name} must be a tensor; received ${show(arg)}`)
    return new DeviceError(
      storage.device === this
        ? `${operation}: received a tensor that was disposed`
        : `${operation}: all tensors must be on ${this.name}; received one on ${storage.device.name}`,
    )
  }

  /**
   * Records what `body` calls instead of running it, as a list to be kept. `body` may neither read nor write;
   * tensors that it returns live in the list's own buffers.
   */
  capture<R>(body: () => R): { list: CommandList; result: R } {
    if (this.capturing) throw new DeviceError('capture: a capture is running already')
    const capturing = { records: new Records(true), pool: new Pool(this, this.backend) }
    this.capturing = capturing
    try {
      const result = body()
      const list = new CommandList(capturing.records, capturing.pool, (words) => {
        this.flush()
        this.backend.run(words, this.stop)
      })
      return { list, result }
    } catch (error) {
      capturing.pool.retire()
      throw error
    } finally {
      this.capturing = undefined
    }
  }

  /**
   * What lets calls be stopped (`stoppable`) when the signal aborts, until it is disposed; null where the queue
   * does not see it while it runs.
   */
  stopOn(signal: AbortSignal): SignalStop | null {
    return this.stops.take(signal)
  }

  /**
   * Runs `body`, whose calls the queue leaves out from where it stands when `stop` is raised: then what they
   * should have written holds anything, and only calls that stop, too, may work with it.
   */
  stoppable<R>(stop: SignalStop, body: () => R): R {
    this.flush()
    const outer = this.stop
    this.stop = stop
    try {
      return body()
    } finally {
      this.flush()
      this.stop = outer
    }
  }

  /** Hands what is recorded to the queue. */
  flush(): void {
    if (this.records.empty) return
    this.backend.run(this.records.list(), this.stop)
    this.records.clear()
  }

  /** Copies `bytes` to the region, after everything recorded before. */
  write(region: Region, bytes: Uint8Array): void {
    if (!this.holds(region)) throw this.notHeld('write', 'the target', region)
    if (this.capturing) throw new DeviceError('write: a kept list cannot hold bytes of the host')
    this.flush()
    this.backend.write(region.storage.address + region.byteOffset, bytes)
    this.writtenBytes += bytes.byteLength
  }

  /**
   * As `write`, but copies once: the bytes must stay as they are until it resolves.
   * @throws DeviceError if a command failed
   */
  async upload(region: Region, bytes: Uint8Array): Promise<void> {
    if (!this.holds(region)) throw this.notHeld('upload', 'the target', region)
    if (this.capturing) throw new DeviceError('upload: a kept list cannot hold bytes of the host')
    this.flush()
    await this.backend.upload(region.storage.address + region.byteOffset, bytes)
  }

  /**
   * Resolves once at most `limitBytes` of what was written wait in the queue: a loader awaits it after each
   * tensor, so that the copies that the queue holds do not pile up.
   * @throws DeviceError if a command failed
   */
  async settled(limitBytes = waitingBytesLimit): Promise<void> {
    this.flush()
    if (this.writtenBytes > 0) {
      const taken = this.backend.read(0, new Uint8Array(0))
      // A failure rejects whatever awaits this; unawaited it is no unhandled rejection.
      taken.catch(() => {})
      this.waiting.push({ bytes: this.writtenBytes, taken })
      this.waitingBytes += this.writtenBytes
      this.writtenBytes = 0
    }
    while (this.waitingBytes > limitBytes) {
      const [{ bytes, taken }] = this.waiting.splice(0, 1)
      this.waitingBytes -= bytes
      await taken
    }
  }

  /**
   * Waits for everything recorded before and resolves to a copy of the region's bytes, in `into` if given.
   */
  async read(region: Region, byteLength: number, into?: Bytes): Promise<Bytes> {
    if (!this.holds(region)) throw this.notHeld('read', 'the source', region)
    this.flush()
    const target = into?.subarray(0, byteLength) ?? new Uint8Array(byteLength)
    if (byteLength > 0) await this.backend.read(region.storage.address + region.byteOffset, target)
    return target
  }

  /** Waits until the queue has done everything recorded so far. */
  async sync(): Promise<void> {
    this.flush()
    await this.backend.read(0, new Uint8Array(0))
  }

  /** Ends the queue and gives back all memory; every tensor on the device is gone. */
  async close(): Promise<void> {
    if (this.closed) return
    this.flush()
    this.closed = true
    await this.backend.close()
  }

  /** `Device native avx512, 2 threads, 1.0 MB allocated` */
  toString(): string {
    const state = this.closed ? 'closed' : `${(this.allocatedBytes / 1e6).toFixed(1)} MB allocated`
    return `Device ${this.name}, ${this.threads} ${this.threads === 1 ? 'thread' : 'threads'}, ${state}`
  }

  [inspect](): string {
    return this.toString()
  }
}

/** What `openDevice` gives. */
export const aDevice: Kind = instanceOf(Device, 'be a device, as openDevice gives it', DeviceError)
