import type { Shape } from '../core/shape.ts'
import type { Device } from '../devices/device.ts'
import type { Storage } from '../devices/storage.ts'
import { keep } from './scope.ts'
import { waitForChanges } from './tape.ts'
import { Tensor, view } from './tensor.ts'

/** What the kernels that round rows to int8 write, and how: see kernels/quantize/quantizeRows. */
export interface Int8Rows {
  codes: Tensor
  scale: Tensor
  sum: Tensor
  rows: number
  cols: number
  groupSize: number
  levels: number
}

/** How rows are computed of what an operation takes. */
export interface RowsOf<Inputs extends readonly Tensor[]> {
  /** Queues the kernel that writes them as floats. */
  floats(y: Tensor, ...inputs: Inputs): void
  /** Queues the one that rounds them at once, with the same result as quantizeRows of the floats. */
  int8(into: Int8Rows, ...inputs: Inputs): void
}

/** The widest groups of the kernels that round what they compute. */
const widestGroup = 256

/**
 * Rows that have yet to be computed. It is a float32 tensor to whoever uses it, computed when its memory is
 * first asked for, or before anything that it is computed from is overwritten. Where a product of integers is
 * its only reader, no floats are written: their codes are made at once.
 */
export class PendingRows<Inputs extends readonly Tensor[] = readonly Tensor[]> extends Tensor {
  private readonly home: Device
  private readonly compute: RowsOf<Inputs>
  /** Shared until the floats are there. */
  private inputs: Inputs | null
  private floats: Tensor | null = null
  private readonly stopWaiting: () => void

  constructor(shape: Shape, compute: RowsOf<Inputs>, ...inputs: Inputs) {
    super(null, shape, 'float32')
    this.home = inputs[0].device
    this.compute = compute
    this.inputs = inputs.map((input) => keep(view(input, input.shape))) as unknown as Inputs
    this.stopWaiting = waitForChanges(() => (this.home.open ? this.computed() : this.forget()))
  }

  /** Rounds the rows to int8, in groups of columns, and says so; false where their floats are to be taken. */
  roundInto(into: Int8Rows): boolean {
    const { inputs } = this
    if (!inputs || into.groupSize > widestGroup) return false
    this.compute.int8(into, ...inputs)
    return true
  }

  /** For several they are computed once, as floats. */
  override usedBy(operations: number): void {
    if (operations > 1) this.computed()
  }

  override get isMeta(): boolean {
    return false
  }

  override get device(): Device {
    return this.home
  }

  /** Of the floats, computed at the first call. */
  override get storage(): Storage {
    const { inputs } = this
    if (inputs) {
      this.floats = keep(Tensor.empty(this.device, this.shape))
      this.compute.floats(this.floats, ...inputs)
      this.forget()
    }
    return this.floats?.storage ?? super.storage
  }

  override computed(): this {
    void this.storage
    return this
  }

  override dispose(): void {
    super.dispose()
    this.forget()
    this.floats?.dispose()
    this.floats = null
  }

  private forget(): void {
    this.stopWaiting()
    for (const input of this.inputs ?? []) input.dispose()
    this.inputs = null
  }
}
