/** When to leave out calls that have not begun: once the flag was raised to the ticket or beyond. */
export interface Stop {
  readonly flag: number
  readonly ticket: number
}

/**
 * Memory and a queue: what a device is made of. Every command runs after those issued before it; only what
 * gives a promise waits for it.
 *
 * A command list is records one after the other, `[kernel id, argument, argument, …]`, with ids and arguments
 * as in `src/kernels/signatures.ts`: an array is its address (0 when absent), a scalar itself, all of them
 * exact as float64.
 */
export interface Backend {
  /** For example `native avx512` or `wasm relaxed-threads`. */
  readonly name: string
  /** How many threads share the work of one kernel. */
  readonly threads: number
  /**
   * Bytes that could still be allocated: what the platform has left, or what is left of the backend's own
   * address space.
   */
  availableBytes(): number
  /**
   * The address of `bytes` new bytes, 64-byte aligned, their content undefined.
   * @throws DeviceError if the memory is not to be had.
   */
  allocate(bytes: number): number
  /**
   * As `allocate`, but memory that the system keeps in a file of a folder while it is short of it; absent
   * where there is no such memory. The file has no name and goes with the block.
   * @throws DeviceError if the folder or the room is not to be had
   */
  allocateOnDisk?(folder: string, bytes: number): number
  /** Gives a block back once the commands before have run. */
  free(address: number, bytes: number): void
  /** Copies `bytes` to `address`; they may be changed as soon as this returns. */
  write(address: number, bytes: Uint8Array): void
  /** As `write`, but copies once: the bytes must stay as they are until it resolves. Rejects as `read`. */
  upload(address: number, bytes: Uint8Array): Promise<void>
  /**
   * Runs a command list, which is handed over: the caller neither reads nor changes it any more. What of it has
   * not begun when it is stopped is left out; of a kernel that runs, the parts that have not begun.
   */
  run(list: Float64Array, stop?: Stop): void
  /** How many flags there are, down at first; 0 where the queue does not see what is raised while it runs. */
  readonly stopFlags: number
  /** Takes effect at once, not in its turn. */
  raise(stop: Stop): void
  /**
   * Fills `target` from `address`; an empty one only waits. Rejects with a DeviceError if this or an earlier
   * command failed, or the backend is closed.
   */
  read(address: number, target: Uint8Array): Promise<void>
  /** Waits for all commands, then gives back all memory. */
  close(): Promise<void>
}
