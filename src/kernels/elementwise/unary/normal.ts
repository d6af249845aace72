/** φ(x) = e^(−x²/2) / √(2π), the density of the standard normal distribution. */
export function normalDensity(x: number): number {
  return Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)
}

/**
 * Φ(x) = ∫ φ from −∞ to x, with a relative error below 1e-12.
 * Source: Abramowitz, Stegun, "Handbook of Mathematical Functions", 1964, 26.2.11 and 26.2.14.
 */
export function normalCdf(x: number): number {
  const size = Math.abs(x)
  if (size > 3) {
    // The continued fraction of the tail, from its far end; beyond 3 it needs no more terms than these.
    let fraction = size
    for (let k = 80; k >= 1; k--) fraction = size + k / fraction
    const tail = normalDensity(x) / fraction
    return x < 0 ? tail : 1 - tail
  }
  let term = x
  let sum = x
  for (let k = 3; k < 121; k += 2) {
    term *= (x * x) / k
    sum += term
  }
  return 0.5 + normalDensity(x) * sum
}

/** u(x) = √(2/π)·(x + 0.044715·x³), of which gelu's approximation takes tanh. */
export function tanhGeluSlope(x: number): number {
  return Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)
}
