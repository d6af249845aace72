/**
 * One step of Adadelta: g = gradient + weightDecay · parameter, square += rate · (g² − square),
 * delta = √(change + epsilon) / √(square + epsilon) · g, change += rate · (delta² − change), parameter −= lr
 * · delta.
 * Source: Zeiler, "ADADELTA", 2012, algorithm 1, with the learning rate of torch.optim.Adadelta.
 * @param parameter [count] float32, changed
 * @param gradient [count] float32
 * @param square,change [count] float32, changed: running means of g² and delta²
 * @param rate 1 − ρ
 */
export function adadeltaStep(
  parameter: Float32Array,
  gradient: Float32Array,
  square: Float32Array,
  change: Float32Array,
  lr: number,
  rate: number,
  epsilon: number,
  weightDecay: number,
  count: number,
): void {
  for (let i = 0; i < count; i++) {
    const g = gradient[i] + weightDecay * parameter[i]
    const s = square[i] + rate * (g * g - square[i])
    const delta = (Math.sqrt(change[i] + epsilon) / Math.sqrt(s + epsilon)) * g
    square[i] = s
    change[i] += rate * (delta * delta - change[i])
    parameter[i] -= lr * delta
  }
}
