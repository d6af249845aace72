/**
 * The factor F of the inverse of what h says of the columns in `order`, damped:
 *
 *     H[i, j] = h[order[i], order[j]] + d·mean(diag)·[i = j]        H⁻¹ = F·Fᵀ, F lower triangular
 *
 * with a positive diagonal. A diagonal of 0 counts as 1: the column has no inputs, and nothing is made up
 * for by it. d is `damp`, or as many times `step` more as it takes until no pivot is lost in rounding; from
 * 1 on it doubles. Source: Frantar et al., "GPTQ", 2023, section 3.3; GPTQModel 7.7, `hessian_inverse`.
 *
 * With J the reversal of rows, J·H·J = L·Lᵀ gives F = J·L⁻ᵀ·J: one factorization, and one inverse of a
 * triangle.
 * @param h [cols, cols] float32, symmetric
 * @param order [cols] int32
 * @param factor [cols, cols] float32: F, zeros above the diagonal; the identity where h is not finite
 * @param damped [1] float32: d, or NaN where h is not finite
 * @param work bytes as many as `inverseFactorBytes` says
 */
export function inverseFactor(
  h: Float32Array,
  order: Int32Array,
  damp: number,
  step: number,
  factor: Float32Array,
  damped: Float32Array,
  _work: Uint8Array | null,
  cols: number,
): void {
  const diagonal = Float64Array.from({ length: cols }, (_, i) => h[i * (cols + 1)] || 1)
  const mean = diagonal.reduce((sum, value) => sum + value, 0) / cols
  factor.fill(0)
  const more = (d: number) => Math.fround(d < 1 ? d + Math.fround(step) : 2 * d)
  for (let d = Math.fround(damp); h.every(Number.isFinite); d = more(d)) {
    const lower = cholesky((i, j) => {
      const [a, b] = [order[cols - 1 - i], order[cols - 1 - j]]
      return i === j ? diagonal[a] + d * mean : h[a * cols + b]
    }, cols)
    if (!lower) continue
    const inverse = inverseOfTriangle(lower, cols)
    for (let j = 0; j < cols; j++)
      for (let i = 0; i <= j; i++) factor[j * cols + i] = inverse[(cols - 1 - i) * cols + cols - 1 - j]
    damped[0] = d
    return
  }
  for (let i = 0; i < cols; i++) factor[i * (cols + 1)] = 1
  damped[0] = NaN
}

/** A pivot of less than so much of its diagonal is nothing but rounding, of float32. */
const least = 16 * 2 ** -23

/** L of L·Lᵀ, or null where a pivot is lost. */
function cholesky(value: (i: number, j: number) => number, cols: number): Float64Array | null {
  const lower = new Float64Array(cols * cols)
  for (let i = 0; i < cols; i++) {
    for (let j = 0; j <= i; j++) {
      let rest = value(i, j)
      for (let k = 0; k < j; k++) rest -= lower[i * cols + k] * lower[j * cols + k]
      if (i > j) lower[i * cols + j] = rest / lower[j * cols + j]
      else if (rest > least * value(i, i)) lower[i * cols + i] = Math.sqrt(rest)
      else return null
    }
  }
  return lower
}

function inverseOfTriangle(lower: Float64Array, cols: number): Float64Array {
  const inverse = new Float64Array(cols * cols)
  for (let j = 0; j < cols; j++) {
    inverse[j * (cols + 1)] = 1 / lower[j * (cols + 1)]
    for (let i = j + 1; i < cols; i++) {
      let sum = 0
      for (let k = j; k < i; k++) sum += lower[i * cols + k] * inverse[k * cols + j]
      inverse[i * cols + j] = -sum / lower[i * (cols + 1)]
    }
  }
  return inverse
}

/** Columns of a block of the factorization. */
const side = 64

/** Bytes that the kernel works in: inverses of blocks, the inverse in panels, a panel of the factor. */
export function inverseFactorBytes(cols: number): number {
  const blocks = Math.ceil(cols / side)
  return 4 * side * (blocks * side + blocks * cols + Math.max(cols, side))
}
