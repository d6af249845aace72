import { cast } from '../../tensor/ops/elementwise.ts'
import { reduce } from '../../tensor/ops/reduce.ts'
import { scope } from '../../tensor/scope.ts'
import { noGrad } from '../../tensor/tape.ts'
import type { Tensor } from '../../tensor/tensor.ts'

/** The largest finite float16. */
const float16Max = 65504

/** A tensor for each sample: what a block takes or gives. Floats are kept in 16 bits where they fit. */
export class HiddenStates {
  private readonly tensors: (Tensor | undefined)[] = []

  /**
   * Keeps what x holds in place of what was there; x stays the caller's.
   * @returns whether x is finite; if not, nothing is changed
   */
  async put(sample: number, x: Tensor): Promise<boolean> {
    const largest = noGrad(() => scope(() => largestOf(x)))
    const magnitude = largest ? await largest.item().finally(() => largest.dispose()) : 0
    if (!Number.isFinite(magnitude)) return false
    const narrow = x.dtype === 'float32' && magnitude <= float16Max
    const state = noGrad(() => scope(() => (narrow ? cast(x, 'float16') : x.clone())))
    this.tensors[sample]?.dispose()
    this.tensors[sample] = state
    return true
  }

  /** A tensor of the caller's, float32 where it was kept in 16 bits; null where nothing was put. */
  async get(sample: number): Promise<Tensor | null> {
    const kept = this.tensors[sample]
    return kept
      ? noGrad(() => scope(() => (kept.dtype === 'float16' ? cast(kept, 'float32') : kept.clone())))
      : null
  }

  dispose(): void {
    for (const tensor of this.tensors) tensor?.dispose()
    this.tensors.length = 0
  }
}

/** max |x|, [] float32; null of what is no float32. NaN propagates. */
export function largestOf(x: Tensor): Tensor | null {
  if (x.dtype !== 'float32' || x.numel === 0) return null
  const cols = x.size(-1) ?? 1
  const rows = reduce('absmax', x.view([x.numel / cols, cols]))
  return reduce('absmax', rows.view([1, rows.numel])).view([])
}
