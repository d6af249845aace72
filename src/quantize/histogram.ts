import { DTypeError } from '../core/errors.ts'
import { isObject, type Kind } from '../core/kinds.ts'
import type { Device } from '../devices/device.ts'
import { smallestRange } from '../kernels/quantize/magnitudeHistogram/magnitudeHistogram.ts'
import { op } from '../tensor/op.ts'
import { keep } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'

/** How many values have which magnitude: counts[b] of those from b · width to (b + 1) · width. */
export interface MagnitudeHistogram {
  counts: Int32Array
  width: number
  largest: number
}

/** A histogram, as observers take it. */
export const aHistogram: Kind = {
  must: 'be a histogram with counts, width and largest',
  holds: (value) =>
    isObject(value) && value.counts instanceof Int32Array && 'width' in value && 'largest' in value,
}

const bins = 2048

/** Adds the values of x to the counts of their magnitudes; see kernels/quantize/magnitudeHistogram. */
const countMagnitudes = op(
  'countMagnitudes(x, counts, range)',
  (x: Tensor, counts: Tensor, range: Tensor): void => {
    if (x.numel > 0) x.device.call('magnitudeHistogram', { x, counts, range, count: x.numel, bins })
  },
)

/**
 * A histogram of |x| over all that was added, on the device until it is read; between half of its bins and
 * all are in use.
 * Its range is a power of two: when it is doubled, neighbouring bins merge exactly, so that a scale depends
 * on the values alone and not on how they came in batches.
 */
export class DeviceHistogram {
  private readonly counts: Tensor
  private readonly range: Tensor

  constructor(device: Device) {
    this.counts = keep(Tensor.fromArray(device, new Int32Array(bins)))
    this.range = keep(Tensor.fromNumbers(device, [smallestRange, 0]))
  }

  get device(): Device {
    return this.counts.device
  }

  /** Counts the values of x [...] float32. */
  add(x: Tensor): void {
    countMagnitudes(x, this.counts, this.range)
  }

  /** @throws DTypeError if a bin holds more than 2³¹ − 1 values */
  async read(): Promise<MagnitudeHistogram> {
    const [[range, largest], counts] = await Promise.all([this.range.toNumbers(), this.counts.read()])
    const held = Int32Array.from(counts as Int32Array)
    if (held.some((count) => count < 0))
      throw new DTypeError('calibrate: a histogram holds 2147483647 equal magnitudes; calibrate with less')
    return { counts: held, width: range / bins, largest }
  }

  dispose(): void {
    this.counts.dispose()
    this.range.dispose()
  }
}
