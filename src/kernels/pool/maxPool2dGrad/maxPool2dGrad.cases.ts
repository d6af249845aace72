import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, replaced } from '../../inputs.ts'

/**
 * n terms added in float32, and the definition's rounding: half an ulp of Σ|dy| each; single terms are exact.
 */
function tolerance([indices, dy, dx, , inSize, outSize]: readonly KernelArg[]): Float64Array {
  const absolute = new Float64Array((dx as Float32Array).length)
  const terms = new Float64Array(absolute.length)
  for (const [o, index] of (indices as Int32Array).entries()) {
    if (index < 0) continue
    const at = Math.floor(o / (outSize as number)) * (inSize as number) + index
    absolute[at] += Math.abs((dy as Float32Array)[o])
    terms[at]++
  }
  return absolute.map((sum, at) => (terms[at] / 2) * epsilon * sum)
}

export const cases: KernelCase[] = [
  [1, 1, 1],
  [6, 49, 16],
  [3, 9, 40],
  [64, 1024, 256],
].map(
  ([planes, inSize, outSize]): KernelCase => ({
    name: `planes=${planes} ${inSize} → ${outSize}`,
    args: (random) => [
      Int32Array.from({ length: planes * outSize }, (_, o) => (o % 7 === 3 ? -1 : random.uint32() % inSize)),
      normals(random, planes * outSize),
      new Float32Array(planes * inSize),
      ...[planes, inSize, outSize],
    ],
    tolerance,
    defects: { 'dy in bfloat16': (args) => replaced(args, 1, inBfloat16(args[1] as Float32Array)) },
  }),
)
