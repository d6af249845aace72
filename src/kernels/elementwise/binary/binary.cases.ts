import type { KernelArg, KernelCase } from '../../case.ts'
import { inBfloat16, normals, replaced, shapes, specials } from '../../inputs.ts'
import { binaryOps } from './binary.ts'

const ops = Object.entries(binaryOps)
const anotherOp = (args: KernelArg[]) => replaced(args, 0, ((args[0] as number) + 1) % ops.length)
const bInBfloat16 = (args: KernelArg[]) => replaced(args, 2, inBfloat16(args[2] as Float32Array))

const sizes: KernelCase[] = ops.flatMap(([name, op]) =>
  shapes.flatMap(([rows, cols]) =>
    [cols, 0].map((stride) => ({
      name: `${name} ${rows}x${cols}${stride === 0 ? ' one row of b' : ''}`,
      args: (random) => {
        const b = normals(random, stride === 0 ? cols : rows * cols)
        return [op, normals(random, rows * cols), b, new Float32Array(rows * cols), rows, cols, stride]
      },
      // One operation, rounded once: float32 arithmetic is exact to the bit everywhere.
      tolerance: () => 'exact',
      defects: { 'another operation': anotherOp, 'b in bfloat16': bInBfloat16 },
    })),
  ),
)

const pairs: KernelCase[] = ops.map(([name, op]) => ({
  name: `${name} special values, each with each`,
  args: () => {
    const count = specials.length
    const b = Float32Array.from({ length: count ** 2 }, (_, i) => specials[Math.floor(i / count)])
    return [
      op,
      Float32Array.from(b, (_, i) => specials[i % count]),
      b,
      new Float32Array(count ** 2),
      count,
      count,
      count,
    ]
  },
  tolerance: () => 'exact',
}))

export const cases = [...sizes, ...pairs]
