import type { KernelCase } from '../../case.ts'
import { replaced, shapes } from '../../inputs.ts'

/** Bits, what is added, and the codes of a run: words of GPTQ, there and back, and single codes. */
const runs = [
  [4, 1, 8],
  [3, 1, 32],
  [2, -1, 16],
  [8, 1, 4],
  [4, 8, 1],
  [8, -128, 1],
] as const

/** Codes of which every third is the largest or the smallest, so that there is something to carry. */
export const cases: readonly KernelCase[] = runs.flatMap(([bits, add, run]) =>
  shapes.map(([rows, cols]) => ({
    name: `${bits} bits ${add > 0 ? '+' : ''}${add} runs of ${run} ${rows}x${cols}`,
    args(random) {
      const largest = 2 ** bits - 1
      const codes = Uint8Array.from({ length: rows * cols }, (_, i) => {
        return i % 3 === 0 ? (add > 0 ? largest : 0) : random.uint32() & largest
      })
      return [codes, new Uint8Array(codes.length), bits, add, run, rows, cols]
    },
    tolerance: () => 'exact',
    defects: {
      'nothing added': (args) => replaced(args, 3, 0),
      ...(run > 1 && cols > 1 && { 'nothing carried': (args) => replaced(args, 4, 1) }),
    } as KernelCase['defects'],
  })),
)
