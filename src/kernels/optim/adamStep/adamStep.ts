/**
 * One step of Adam: g = gradient + weightDecay · parameter, mean += rate1 · (g − mean), square += rate2 · (g²
 * − square), parameter = keep · parameter − stepSize · mean / (√square / correction + epsilon).
 * Source: Kingma, Ba, "Adam", 2015, algorithm 1, in the order of torch.optim.Adam; Loshchilov, Hutter,
 * "Decoupled Weight Decay Regularization", 2019, algorithm 2 (AdamW: weightDecay 0 and keep = 1 − lr ·
 * decay).
 * @param parameter [count] float32, changed
 * @param gradient [count] float32
 * @param mean,square [count] float32, changed: running means of g and g²
 * @param stepSize lr / (1 − β₁ᵗ)
 * @param rate1,rate2 1 − β₁, 1 − β₂
 * @param correction √(1 − β₂ᵗ)
 */
export function adamStep(
  parameter: Float32Array,
  gradient: Float32Array,
  mean: Float32Array,
  square: Float32Array,
  stepSize: number,
  rate1: number,
  rate2: number,
  correction: number,
  epsilon: number,
  weightDecay: number,
  keep: number,
  count: number,
): void {
  for (let i = 0; i < count; i++) {
    const g = gradient[i] + weightDecay * parameter[i]
    const m = mean[i] + rate1 * (g - mean[i])
    const v = square[i] + rate2 * (g * g - square[i])
    parameter[i] = keep * parameter[i] - (stepSize * m) / (Math.sqrt(v) / correction + epsilon)
    mean[i] = m
    square[i] = v
  }
}
