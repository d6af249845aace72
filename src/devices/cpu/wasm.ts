import { host } from '#host'
import { DeviceError } from '../../core/errors.ts'
import type { WasmVariant } from '../../core/host.ts'
import type { Backend } from '../backend.ts'
import { WasmBackend } from './wasmBackend.ts'
import { canShareMemory, reserveMemory } from './wasmMemory.ts'

export interface WasmOptions {
  /** Default: the best that the engine can run and the build has made. */
  variant?: WasmVariant
  /**
   * Threads that share the work of a kernel. Default: as many as can run at once, at most 8. It is 1 where
   * memory cannot be shared.
   */
  threads?: number
}

const threadsByDefault = 8
const threadsLimit = 64

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
 * WebAssembly in workers, at most 4 GiB. With several threads one worker executes the commands and leads the
 * others in each kernel.
 * @throws DeviceError if the engine cannot run the variant.
 */
export function openWasm(options: WasmOptions = {}): Backend {
  const variants = wasmVariants()
  const variant = options.variant ?? variants.find((name) => host.hasWasm(name)) ?? variants[0]
  if (!variants.includes(variant)) {
    throw new DeviceError(
      `openWasm: variant must be one of ${variants.join(', ')} in this engine; received ${JSON.stringify(variant)}`,
    )
  }
  const threads = options.threads ?? Math.min(host.parallelism(), threadsByDefault)
  if (!Number.isInteger(threads) || threads < 1 || threads > threadsLimit) {
    throw new DeviceError(`openWasm: threads must be an integer in 1..${threadsLimit}; received ${threads}`)
  }
  return new WasmBackend(variant, threads, threads > 1 && canShareMemory() ? reserveMemory(true) : null)
}
