import type { HostArray } from '../../../core/dtype.ts'
import { decodeFloat, dtypeOfCode, encodeFloat } from '../../../core/halves.ts'

/**
 * y = x in another float dtype, through float32, rounded half to even.
 *
 * Above the largest value float16, bfloat16 and e5m2 become infinite, e4m3fn saturates at ±448 (infinities
 * too) and e4m3fnuz becomes NaN, as `tensor.to(dtype)` does in PyTorch 2.15.
 * @param x [count] any float dtype
 * @param y [count] any float dtype
 */
export function cast(x: HostArray, xDtype: number, y: HostArray, yDtype: number, count: number): void {
  const from = dtypeOfCode(xDtype)
  const to = dtypeOfCode(yDtype)
  for (let i = 0; i < count; i++) y[i] = encodeFloat(to, decodeFloat(from, x[i] as number))
}
