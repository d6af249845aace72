import type { KernelArg, KernelCase } from '../../case.ts'
import { normals } from '../../inputs.ts'

/** Two products and a sum: each y lies within 2·ε of (|a| + |b|), |cos| and |sin| being at most 1. */
function ropeTolerance([x, , , , , , , headSize]: readonly KernelArg[]): Float64Array {
  const values = x as Float32Array
  const half = (headSize as number) / 2
  return Float64Array.from(values, (value, i) => {
    const partner = values[i % (2 * half) < half ? i + half : i - half]
    return 2 ** -22 * (Math.abs(value) + Math.abs(partner))
  })
}

function ropeCase(
  batch: number,
  tokens: number,
  heads: number,
  headSize: number,
  position: number,
): KernelCase {
  const count = batch * tokens * heads * headSize
  const half = headSize / 2
  const angle = (i: number) => Math.floor(i / half) * 10000 ** (-(i % half) / half)
  return {
    name: `batch=${batch} tokens=${tokens} heads=${heads} headSize=${headSize} position=${position}`,
    args(random) {
      // One row more than needed, for the defect.
      const cos = Float32Array.from({ length: (position + tokens + 1) * half }, (_, i) => Math.cos(angle(i)))
      const sin = Float32Array.from({ length: cos.length }, (_, i) => Math.sin(angle(i)))
      return [
        normals(random, count),
        cos,
        sin,
        new Float32Array(count),
        batch,
        tokens,
        heads,
        headSize,
        position,
      ]
    },
    tolerance: ropeTolerance,
    defects: {
      'one position later': (args) => args.with(8, position + 1),
      'turned the other way': (args) =>
        args.with(
          2,
          (args[2] as Float32Array).map((value, i) => (i < half ? -Math.sin(1) : -value)),
        ),
      ...(headSize > 2 && {
        'pairs of neighbours': (args: KernelArg[]) =>
          args.with(0, interleaved(args[0] as Float32Array, headSize)),
      }),
    },
    work: { operations: 3 * count, bytes: 8 * count },
  }
}

/** Each head's values as GPT-J pairs them: 0, half, 1, half + 1 … */
function interleaved(x: Float32Array, headSize: number): Float32Array {
  return x.map((_, i) => {
    const within = i % headSize
    return x[i - within + Math.floor(within / 2) + (within % 2) * (headSize / 2)]
  })
}

export const cases: KernelCase[] = [
  ropeCase(1, 1, 1, 2, 0),
  ropeCase(1, 1, 3, 64, 17),
  ropeCase(2, 3, 2, 10, 5),
  ropeCase(1, 5, 7, 46, 0),
  ropeCase(2, 67, 4, 128, 1000),
]
