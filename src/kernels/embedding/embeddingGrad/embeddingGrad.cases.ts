import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, replaced } from '../../inputs.ts'

/** n terms added one after the other in float32, and the definition's rounding: half an ulp of Σ|dy| each. */
function tolerance([ids, dy, table, count, , cols]: readonly KernelArg[]): Float64Array {
  const n = cols as number
  const absolute = new Float64Array((table as Float32Array).length)
  const terms = new Float64Array(absolute.length)
  for (let i = 0; i < (count as number); i++) {
    for (let c = 0; c < n; c++) {
      const at = (ids as Int32Array)[i] * n + c
      absolute[at] += Math.abs((dy as Float32Array)[i * n + c])
      terms[at]++
    }
  }
  return absolute.map((sum, at) => ((terms[at] + 1) / 2) * epsilon * sum)
}

export const cases: KernelCase[] = [
  [1, 1, 1],
  [5, 40, 7],
  [300, 40, 33],
  [64, 1000, 96],
].map(
  ([count, vocabulary, cols]): KernelCase => ({
    name: `count=${count} vocabulary=${vocabulary} cols=${cols}`,
    args: (random) => [
      Int32Array.from({ length: count }, () => random.uint32() % vocabulary),
      normals(random, count * cols),
      new Float32Array(vocabulary * cols),
      count,
      vocabulary,
      cols,
    ],
    tolerance,
    defects: {
      'dy in bfloat16': (args) => replaced(args, 1, inBfloat16(args[1] as Float32Array)),
      ...(vocabulary > 1 && {
        'the row of id 0 for all': (args: KernelArg[]) => replaced(args, 0, new Int32Array(count)),
      }),
    },
  }),
)
