import { normalCdf, normalDensity, tanhGeluSlope } from '../unary/normal.ts'

/** From the input x, or from the output y where that is at hand already. */
type Gradient = (x: number, y: number, dy: number) => number

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))

/** In the order of `unaryOps`. */
const gradients: readonly Gradient[] = [
  (_x, _y, dy) => -dy,
  (x, _y, dy) => dy * Math.sign(x),
  (_x, y, dy) => dy * y,
  (_x, y, dy) => dy / (2 * y),
  (x, _y, dy) => (x <= 0 ? 0 : dy),
  (x, _y, dy) => dy * sigmoid(x) * (1 + x * sigmoid(-x)),
  (_x, y, dy) => dy * y * (1 - y),
  (_x, y, dy) => dy * (1 - y) * (1 + y),
  (x, _y, dy) => dy * (normalCdf(x) + x * normalDensity(x)),
  (x, _y, dy) => dy * tanhGeluDerivative(x),
  (x, _y, dy) => dy / x,
]

/** d/dx of x·σ(2u(x)): σ + x·σ·(1 − σ)·2u′. */
function tanhGeluDerivative(x: number): number {
  const s = sigmoid(2 * tanhGeluSlope(x))
  const rest = sigmoid(-2 * tanhGeluSlope(x))
  return s + x * s * rest * 2 * Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x * x)
}

/**
 * dx = dy · f′(x), value by value, of y = f(x).
 * @param op one of `unaryOps`
 * @param x [count] float32
 * @param y [count] float32, f(x)
 * @param dy [count] float32
 * @param dx [count] float32, may be dy
 */
export function unaryGrad(
  op: number,
  x: Float32Array,
  y: Float32Array,
  dy: Float32Array,
  dx: Float32Array,
  count: number,
): void {
  const gradient = gradients[op]
  for (let i = 0; i < count; i++) dx[i] = gradient(x[i], y[i], dy[i])
}
