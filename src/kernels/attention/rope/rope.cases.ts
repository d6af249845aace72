import type { KernelArg, KernelCase } from '../../case.ts'
import { normals } from '../../inputs.ts'

interface Sizes {
  batch?: number
  tokens: number
  heads: number
  headSize: number
  /** Default: the whole head. */
  rotaryDim?: number
  interleaved?: boolean
  position?: number
  positions?: readonly number[]
}

const [rotaryDimAt, interleavedAt, positionAt] = [9, 10, 11]

/**
 * Two products and a sum: each y lies within 2·ε of (|a| + |b|), |cos| and |sin| being at most 1; others are
 * x.
 */
function ropeTolerance(args: readonly KernelArg[]): Float64Array {
  const values = args[0] as Float32Array
  const [headSize, rotaryDim, interleaved] = args.slice(8) as number[]
  return Float64Array.from(values, (value, at) => {
    const i = at % headSize
    if (i >= rotaryDim) return 0
    const half = rotaryDim / 2
    const partner = interleaved ? i ^ 1 : i < half ? i + half : i - half
    return 2 ** -22 * (Math.abs(value) + Math.abs(values[at - i + partner]))
  })
}

function ropeCase(sizes: Sizes): KernelCase {
  const { batch = 1, tokens, heads, headSize, position = 0, interleaved = false } = sizes
  const rotaryDim = sizes.rotaryDim ?? headSize
  const positions = sizes.positions ? Int32Array.from(sizes.positions) : null
  const count = batch * tokens * heads * headSize
  const half = rotaryDim / 2
  const angle = (i: number) => Math.floor(i / half) * 10000 ** (-(i % half) / half)
  return {
    name: Object.entries(sizes)
      .map(([key, value]) => `${key}=${value}`)
      .join(' '),
    args(random) {
      // One row more than needed, for the defect.
      const rows = position + Math.max(0, ...(positions ?? [])) + tokens + 1
      const cos = Float32Array.from({ length: rows * half }, (_, i) => Math.cos(angle(i)))
      const sin = Float32Array.from({ length: cos.length }, (_, i) => Math.sin(angle(i)))
      const inputs = [normals(random, count), cos, sin, positions, new Float32Array(count)]
      return [...inputs, batch, tokens, heads, headSize, rotaryDim, interleaved ? 1 : 0, position, rows]
    },
    tolerance: ropeTolerance,
    defects: {
      'one position later': (args) => args.with(positionAt, position + 1),
      'turned the other way': (args) =>
        args.with(
          2,
          (args[2] as Float32Array).map((value, i) => (i < half ? -Math.sin(1) : -value)),
        ),
      ...(rotaryDim > 2 && {
        'the other pairs': (args: KernelArg[]) => args.with(interleavedAt, interleaved ? 0 : 1),
        'two values fewer': (args: KernelArg[]) => args.with(rotaryDimAt, rotaryDim - 2),
      }),
    },
    work: { operations: 3 * count, bytes: 8 * count },
  }
}

export const cases: KernelCase[] = [
  ropeCase({ tokens: 1, heads: 1, headSize: 2 }),
  ropeCase({ tokens: 1, heads: 3, headSize: 64, position: 17 }),
  ropeCase({ batch: 2, tokens: 3, heads: 2, headSize: 10, position: 5 }),
  ropeCase({ tokens: 5, heads: 7, headSize: 46 }),
  ropeCase({ batch: 2, tokens: 67, heads: 4, headSize: 128, position: 1000 }),
  ropeCase({ tokens: 4, heads: 2, headSize: 80, rotaryDim: 32, position: 3 }),
  ropeCase({ tokens: 3, heads: 2, headSize: 9, rotaryDim: 6 }),
  ropeCase({ tokens: 1, heads: 1, headSize: 2, interleaved: true }),
  ropeCase({ batch: 2, tokens: 5, heads: 3, headSize: 46, interleaved: true, position: 9 }),
  ropeCase({ tokens: 67, heads: 4, headSize: 256, rotaryDim: 64, interleaved: true, position: 30 }),
  // Places of their own; one before the table stays as it is.
  ropeCase({ batch: 3, tokens: 2, heads: 2, headSize: 10, position: 1, positions: [30, -1, -9] }),
]
