import { Random } from '../../core/random.ts'
import type { Device } from '../../devices/device.ts'
import { expand, matmul, mul, transpose } from '../../tensor/ops/index.ts'
import { scope } from '../../tensor/scope.ts'
import { Tensor } from '../../tensor/tensor.ts'

/*
 * Orthogonal matrices whose entries are all about 1/√n large, so that a turn by one spreads what stands out
 * in a channel over all of them.
 */

/** Which turn is wanted. */
export interface RotationOptions {
  seed: number
  /** Whether a row of equal values stays one, so that a row keeps its mean. */
  keepsMean: boolean
}

/**
 * An orthogonal matrix R [n, n] float32 with random signs: diag(±1) · H / √n for Hadamard's H; where means
 * are to be kept H · diag(1, ±1 …) · Hᵀ / n, whose rows sum to 1.
 *
 * H is a Kronecker product of Sylvester's matrices and one of Paley's; where n has an odd factor for which
 * there is none, an orthogonal matrix of random numbers stands in its place.
 * Source: Ashkboos et al., "QuaRot", 2024; Paley, "On orthogonal matrices", 1933.
 */
export function rotation(device: Device, n: number, { seed, keepsMean }: RotationOptions): Tensor {
  const random = new Random(seed)
  const { odd, power } = factorsOf(n)
  const signs = Float32Array.from({ length: n }, (_, i) =>
    (keepsMean && i === 0) || random.uniform() < 0.5 ? 1 : -1,
  )
  return scope(() => {
    const a = Tensor.fromArray(device, oddFactor(odd, random), [odd, 1, odd, 1])
    const b = Tensor.fromArray(device, sylvester(power), [1, power, 1, power])
    const shape = [odd, power, odd, power]
    const H = mul(expand(a, shape), expand(b, shape)).view([n, n])
    const s = Tensor.fromArray(device, signs)
    return keepsMean ? matmul(mul(H, s), transpose(H, 0, 1)) : mul(H, s.view([n, 1]))
  })
}

/** n = odd · power: a power of two, as large as it can be, and what Paley has a matrix for, or else the rest. */
export function factorsOf(n: number): { odd: number; power: number } {
  let power = 1
  while (n % (2 * power) === 0) power *= 2
  const [rest, most] = [n / power, power]
  for (let factor = 1; factor <= most && rest > 1; factor *= 2)
    if (paley(rest * factor)) return { odd: rest * factor, power: most / factor }
  return { odd: rest, power: most }
}

/** Sylvester's matrix of a power of two, its entries ±1/√n. */
function sylvester(n: number): Float32Array {
  return Float32Array.from({ length: n * n }, (_, i) => {
    let bits = Math.floor(i / n) & (i % n)
    let sign = 1
    for (; bits > 0; bits &= bits - 1) sign = -sign
    return sign / Math.sqrt(n)
  })
}

/** An orthogonal matrix whose first column is 1/√n. */
function oddFactor(n: number, random: Random): Float32Array {
  const entries = (n === 1 ? [1] : paley(n)) ?? null
  if (!entries) return gramSchmidt(n, random)
  const scale = 1 / Math.sqrt(n)
  // Every row by the sign of its first entry: Hadamard's still.
  return Float32Array.from(entries, (entry, i) => entry * entries[i - (i % n)] * scale)
}

/**
 * Paley's Hadamard matrix of n, by rows; null where neither of his constructions gives one: n − 1 a prime of
 * the form 4k + 3, or n / 2 − 1 one of the form 4k + 1.
 */
export function paley(n: number): number[] | null {
  if (isPrime(n - 1) && n % 4 === 0) {
    const S = bordered(n - 1, -1)
    return S.map((entry, i) => entry + (i % n === Math.floor(i / n) ? 1 : 0))
  }
  const half = n / 2
  if (!Number.isInteger(half) || !isPrime(half - 1) || (half - 1) % 4 !== 1) return null
  const C = bordered(half - 1, 1)
  const at = (r: number, c: number) => C[r * half + c]
  return Array.from({ length: n * n }, (_, i) => {
    const [row, column] = [Math.floor(i / n), i % n]
    const [r, c] = [row % half, column % half]
    const [low, right] = [row >= half, column >= half]
    if (r === c) return low && right ? -1 : low || right ? -1 : 1
    return low && right ? -at(r, c) : at(r, c)
  })
}

/** The quadratic residues' matrix Q of a prime q with a row and a column of ones, [q + 1, q + 1]; 0 on its diagonal. */
function bordered(q: number, sign: 1 | -1): number[] {
  const residues = new Set(Array.from({ length: q - 1 }, (_, i) => (i + 1) ** 2 % q))
  const n = q + 1
  return Array.from({ length: n * n }, (_, i) => {
    const [row, column] = [Math.floor(i / n), i % n]
    if (row === column) return 0
    if (row === 0) return 1
    if (column === 0) return sign
    return residues.has((row - column + q) % q) ? 1 : -1
  })
}

function isPrime(n: number): boolean {
  if (!Number.isInteger(n) || n < 3) return false
  for (let divisor = 2; divisor * divisor <= n; divisor++) if (n % divisor === 0) return false
  return true
}

/** Random columns made orthonormal one after the other, twice against rounding; the first is of equal values. */
function gramSchmidt(n: number, random: Random): Float32Array {
  const columns: Float64Array[] = []
  for (let c = 0; c < n; c++) {
    const column = Float64Array.from({ length: n }, () => (c === 0 ? 1 : random.normal()))
    for (const before of [...columns, ...columns]) {
      const along = before.reduce((sum, value, i) => sum + value * column[i], 0)
      for (const [i, value] of before.entries()) column[i] -= along * value
    }
    const norm = Math.hypot(...column)
    columns.push(column.map((value) => value / norm))
  }
  return Float32Array.from({ length: n * n }, (_, i) => columns[i % n][Math.floor(i / n)])
}
