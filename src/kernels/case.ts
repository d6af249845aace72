import type { HostArray } from '../core/dtype.ts'
import type { Random } from '../core/random.ts'

/**
 * One argument of a kernel, in the order of `kernels.def`: an array (raw bits), a scalar, or null for an
 * absent array.
 */
export type KernelArg = HostArray | number | null

/**
 * One set of sizes and dtypes for a kernel: a test on every device, a benchmark, and proof that the test can
 * fail. Outputs are passed as arrays of the right length; the definition fills one copy and the device
 * another.
 */
export interface KernelCase {
  /** Sizes and dtypes, for example `M=1 N=64 K=172 qint4 per row`. */
  name: string
  args(random: Random): KernelArg[]
  /**
   * How far each value of an output may lie from the definition's: `exact` compares bits (NaN equals NaN),
   * else one bound per value (or one for all), derived from the inputs, for example `c·ε·‖x‖₂·‖w‖₂`. `output`
   * is the argument's index.
   */
  tolerance(args: readonly KernelArg[], output: number): 'exact' | number | Float64Array
  /**
   * Planted defects: each returns arguments with one thing wrong (a scale of another group, one swapped
   * nibble, an input rounded to bfloat16). The definition on them must fall outside the tolerance, or the
   * tolerance is worthless.
   */
  defects?: Record<string, (args: KernelArg[]) => KernelArg[]>
  /** Work of one call, for benchmarks: floating point (or integer) operations and bytes that must be read. */
  work?: { operations: number; bytes: number }
}
