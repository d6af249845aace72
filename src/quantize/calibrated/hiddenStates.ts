import { type DType, dtypes } from '../../core/dtype.ts'
import { numel, type Shape } from '../../core/shape.ts'
import type { Device } from '../../devices/device.ts'
import { cast } from '../../tensor/ops/elementwise.ts'
import { reduce } from '../../tensor/ops/reduce.ts'
import { scope } from '../../tensor/scope.ts'
import { noGrad } from '../../tensor/tape.ts'
import { Tensor } from '../../tensor/tensor.ts'
import type { Place, Scratch } from './scratch.ts'

/** The largest finite float16. */
const float16Max = 65504

/** What is kept of a sample: on the device, or in the scratch file. */
type Kept =
  | { readonly tensor: Tensor }
  | { readonly place: Place; readonly shape: Shape; readonly dtype: DType }

/**
 * A tensor for each sample: what a block takes or gives. Where the model's own weights have 16 bits, floats are
 * kept in float16 if they fit.
 */
export class HiddenStates {
  private readonly device: Device
  private readonly scratch: Scratch
  private readonly half: boolean
  private readonly kept: (Kept | undefined)[] = []

  /** @param half whether 16 bits will do */
  constructor(device: Device, scratch: Scratch, half: boolean) {
    this.device = device
    this.scratch = scratch
    this.half = half
  }

  /**
   * Keeps what x holds in place of what was there; x stays the caller's.
   * @returns whether x is finite; if not, nothing is changed
   * @throws FormatError if it belongs into the scratch file, and that has no room
   */
  async put(sample: number, x: Tensor): Promise<boolean> {
    const largest = noGrad(() => scope(() => largestOf(x)))
    const magnitude = largest ? await largest.item().finally(() => largest.dispose()) : 0
    if (!Number.isFinite(magnitude)) return false
    const narrow = this.half && x.dtype === 'float32' && magnitude <= float16Max
    const state = noGrad(() => scope(() => (narrow ? cast(x, 'float16') : x.clone())))
    this.forget(this.kept[sample])
    this.kept[sample] = undefined
    if (this.scratch.take(state.byteLength)) {
      this.kept[sample] = { tensor: state }
      return true
    }
    const { shape, dtype, byteLength } = state
    const place = await this.scratch
      .passing(byteLength, async (buffer) => {
        await this.device.read(state, byteLength, buffer)
        return this.scratch.write(buffer)
      })
      .finally(() => state.dispose())
    this.kept[sample] = { place, shape, dtype }
    return true
  }

  /** A tensor of the caller's, float32 where it was kept in 16 bits; null where nothing was put. */
  async get(sample: number): Promise<Tensor | null> {
    const kept = this.kept[sample]
    if (!kept) return null
    const state = 'tensor' in kept ? kept.tensor.view(kept.tensor.shape) : await this.read(kept)
    if (state.dtype !== 'float16') return state
    const wide = noGrad(() => scope(() => cast(state, 'float32')))
    state.dispose()
    return wide
  }

  private async read({ place, shape, dtype }: Exclude<Kept, { tensor: Tensor }>): Promise<Tensor> {
    const { scratch, device } = this
    return scratch.passing(numel(shape) * dtypes[dtype].bytes, async (buffer) => {
      await scratch.read(place, buffer)
      const tensor = Tensor.empty(device, shape, dtype)
      await device.upload(tensor, buffer).catch((error) => {
        tensor.dispose()
        throw error
      })
      return tensor
    })
  }

  private forget(kept: Kept | undefined): void {
    if (!kept) return
    if ('place' in kept) this.scratch.forget(kept.place)
    else {
      this.scratch.give(kept.tensor.byteLength)
      kept.tensor.dispose()
    }
  }

  dispose(): void {
    for (const kept of this.kept) this.forget(kept)
    this.kept.length = 0
  }
}

/** max |x|, [] float32; null of what is no float32. NaN propagates. */
export function largestOf(x: Tensor): Tensor | null {
  if (x.dtype !== 'float32' || x.numel === 0) return null
  const cols = x.size(-1) ?? 1
  const rows = reduce('absmax', x.view([x.numel / cols, cols]))
  return reduce('absmax', rows.view([1, rows.numel])).view([])
}
