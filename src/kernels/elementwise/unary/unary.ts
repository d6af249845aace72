import { normalCdf, tanhGeluSlope } from './normal.ts'

/** The number of each operation in the kernels' ABI. */
export const unaryOps = {
  neg: 0,
  abs: 1,
  exp: 2,
  sqrt: 3,
  relu: 4,
  silu: 5,
  sigmoid: 6,
  tanh: 7,
  gelu: 8,
  geluTanh: 9,
  log: 10,
} as const

/** In the order of their numbers. */
const functions: readonly ((x: number) => number)[] = [
  (x) => -x,
  Math.abs,
  Math.exp,
  Math.sqrt,
  // biome-ignore lint/complexity/useMathMinMax: a negative zero stays one, as in PyTorch
  (x) => (x < 0 ? 0 : x),
  (x) => x / (1 + Math.exp(-x)),
  (x) => 1 / (1 + Math.exp(-x)),
  Math.tanh,
  (x) => x * normalCdf(x),
  (x) => x / (1 + Math.exp(-2 * tanhGeluSlope(x))),
  Math.log,
]

/**
 * y = f(x), value by value: −x, |x|, eˣ, √x, max(x, 0), x / (1 + e⁻ˣ), 1 / (1 + e⁻ˣ), tanh x, x·Φ(x), x·(1 +
 * tanh u(x)) / 2, ln x. Source of the last but one: Hendrycks, Gimpel, "Gaussian Error Linear Units", 2016.
 * @param op one of `unaryOps`
 * @param x [count] float32
 * @param y [count] float32
 */
export function unary(op: number, x: Float32Array, y: Float32Array, count: number): void {
  const f = functions[op]
  for (let i = 0; i < count; i++) y[i] = f(x[i])
}
