/**
 * One step of stochastic gradient descent: g = gradient + weightDecay · parameter, velocity = momentum ·
 * velocity + rate · g, parameter −= lr · (nesterov ? g + momentum · velocity : velocity). Without velocity:
 * parameter −= lr · g.
 * Source: torch.optim.SGD; Sutskever et al., "On the importance of initialization and momentum in deep
 * learning", 2013.
 * @param parameter [count] float32, changed
 * @param gradient [count] float32
 * @param velocity [count] float32, changed, or absent
 * @param rate 1 − dampening; 1 in the first step, when velocity is 0
 */
export function sgdStep(
  parameter: Float32Array,
  gradient: Float32Array,
  velocity: Float32Array | null,
  lr: number,
  momentum: number,
  rate: number,
  nesterov: number,
  weightDecay: number,
  count: number,
): void {
  for (let i = 0; i < count; i++) {
    const g = gradient[i] + weightDecay * parameter[i]
    let direction = g
    if (velocity) {
      const v = momentum * velocity[i] + rate * g
      velocity[i] = v
      direction = nesterov ? g + momentum * v : v
    }
    parameter[i] -= lr * direction
  }
}
