import { host } from '#host'
import { DeviceError } from '../../core/errors.ts'
import type { Backend, Stop } from '../backend.ts'

/** A queue as the addon holds it. */
type Handle = { readonly brand: 'queue' }

/** What native/addon.cc exports. */
interface Addon {
  isas(): string[]
  open(isa: string, threads: number): Handle
  close(queue: Handle): void
  /** 0 if the memory is not to be had. */
  allocate(queue: Handle, bytes: number): number
  /** As `allocate`, but memory that is a new file at `path`; throws what the system says. */
  map(queue: Handle, path: string, bytes: number): number
  free(queue: Handle, address: number): void
  write(queue: Handle, address: number, bytes: Uint8Array): void
  /** A flag of the queue's 64, or -1. */
  run(queue: Handle, list: Float64Array, flag: number, ticket: number): void
  raise(queue: Handle, flag: number, ticket: number): void
  /** Resolves to '' or to what failed. */
  upload(queue: Handle, address: number, bytes: Uint8Array): Promise<string>
  /** Resolves to '' or to what failed. */
  read(queue: Handle, address: number, target: Uint8Array): Promise<string>
}

export interface NativeOptions {
  /**
   * The instruction set: `avx512`, `avx2`, `sse4` or `neon`. Default: `LOWBIT_ISA` of the environment, else
   * the best of this CPU.
   */
  isa?: string
  /**
   * Threads that share the work of a kernel. Default: as many as can run at once, at most 8; memory is the
   * limit beyond.
   */
  threads?: number
}

/** `kStopFlags` of native/queue.h. */
const stopFlags = 64
const threadsByDefault = 8
const threadsLimit = 256

/** Instruction sets of this CPU that the addon has kernels for, best first; none where there is no addon. */
export function nativeIsas(): string[] {
  return (host.loadAddon() as Addon | null)?.isas() ?? []
}

/** Why `openNative` would find no addon that runs here, in a few words; null if it would. */
export function nativeProblem(): string | null {
  try {
    if (nativeIsas().length > 0) return null
    return host.loadAddon()
      ? 'the native addon has no kernels for this CPU'
      : `there is no native addon for ${host.platform}`
  } catch (error) {
    return (error as Error).message
  }
}

/** Whether `openNative` will find an addon that loads. */
export function nativeAvailable(): boolean {
  return nativeProblem() === null
}

/**
 * The native addon: a queue thread of its own, and the process's thread pool.
 * @throws DeviceError if there is no addon, or it has no kernels for the instruction set, or this CPU lacks
 * it.
 */
export function openNative(options: NativeOptions = {}): Backend {
  const addon = host.loadAddon() as Addon | null
  if (!addon) {
    const hint = 'in a clone, "npm run build" makes it where a C++ compiler is installed'
    throw new DeviceError(
      `openNative: there must be a native addon; there is none for ${host.platform ?? 'browsers'} (${hint})`,
    )
  }
  const isas = addon.isas()
  const isa = options.isa ?? host.variable('LOWBIT_ISA') ?? isas[0]
  if (!isas.includes(isa)) {
    const all = '"npm run build" builds all that the CPU has'
    throw new DeviceError(
      `openNative: isa must be one of ${isas.join(', ')} on this CPU; received ${JSON.stringify(isa)} (${all})`,
    )
  }
  const threads = options.threads ?? Math.min(host.parallelism(), threadsByDefault)
  if (!Number.isInteger(threads) || threads < 1 || threads > threadsLimit) {
    throw new DeviceError(`openNative: threads must be an integer in 1..${threadsLimit}; received ${threads}`)
  }
  return new NativeBackend(addon, isa, threads)
}

class NativeBackend implements Backend {
  readonly name: string
  readonly threads: number
  readonly stopFlags = stopFlags
  private readonly addon: Addon
  private readonly queue: Handle
  private closing: Promise<void> | null = null
  private failure: DeviceError | null = null

  constructor(addon: Addon, isa: string, threads: number) {
    this.name = `native ${isa}`
    this.threads = threads
    this.addon = addon
    this.queue = addon.open(isa, threads)
  }

  availableBytes(): number {
    return host.availableBytes()
  }

  allocate(bytes: number): number {
    this.checkOpen()
    const address = this.addon.allocate(this.queue, bytes)
    if (address === 0) throw new DeviceError(`${this.name}: could not allocate ${bytes} bytes`)
    return address
  }

  allocateOnDisk(folder: string, bytes: number): number {
    this.checkOpen()
    try {
      return this.addon.map(this.queue, `${folder}/lowbit-${crypto.randomUUID()}`, bytes)
    } catch (cause) {
      const { message } = cause as Error
      throw new DeviceError(`${this.name}: could not keep ${bytes} bytes in ${folder}; ${message}`, { cause })
    }
  }

  free(address: number, _bytes: number): void {
    if (!this.closing) this.addon.free(this.queue, address)
  }

  write(address: number, bytes: Uint8Array): void {
    this.checkOpen()
    this.addon.write(this.queue, address, bytes)
  }

  async upload(address: number, bytes: Uint8Array): Promise<void> {
    this.checkOpen()
    this.told(await this.addon.upload(this.queue, address, bytes))
  }

  run(list: Float64Array, stop?: Stop): void {
    this.checkOpen()
    this.addon.run(this.queue, list, stop?.flag ?? -1, stop?.ticket ?? 0)
  }

  raise({ flag, ticket }: Stop): void {
    if (!this.closing) this.addon.raise(this.queue, flag, ticket)
  }

  async read(address: number, target: Uint8Array): Promise<void> {
    this.checkOpen()
    this.told(await this.addon.read(this.queue, address, target))
  }

  /** @throws DeviceError if a command failed */
  private told(failure: string): void {
    if (failure === '') return
    this.failure ??= new DeviceError(`${this.name}: ${failure}`)
    throw this.failure
  }

  close(): Promise<void> {
    this.closing ??= this.addon
      .read(this.queue, 0, new Uint8Array(0))
      .then(() => this.addon.close(this.queue))
    return this.closing
  }

  private checkOpen(): void {
    if (this.closing) throw new DeviceError(`${this.name}: the device must be open; it was closed`)
  }
}
