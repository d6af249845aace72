/**
 * x ·= min(1, maxNorm / (norm + 1e-6)): brings a gradient of which all together have this norm down to
 * maxNorm; NaN propagates.
 * Source: torch.nn.utils.clip_grad_norm_; Pascanu et al., "On the difficulty of training recurrent neural
 * networks", 2013.
 * @param x [count] float32, changed
 * @param norm [1] float32
 */
export function clipNorm(x: Float32Array, norm: Float32Array, maxNorm: number, count: number): void {
  const factor = Math.min(1, maxNorm / (norm[0] + 1e-6))
  for (let i = 0; i < count; i++) x[i] *= factor
}
