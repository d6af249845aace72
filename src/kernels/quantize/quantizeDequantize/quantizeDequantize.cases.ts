import { dtypes, type HostArray } from '../../../core/dtype.ts'
import { dtypeOfCode } from '../../../core/halves.ts'
import type { KernelCase } from '../../case.ts'
import { cases as quantizeCases } from '../quantize/quantize.cases.ts'

/** The sizes, scales, special values and defects of quantize, with room for floats where its codes go. */
export const cases: readonly KernelCase[] = quantizeCases.map((quantizeCase) => ({
  ...quantizeCase,
  args: (random) => {
    const args = quantizeCase.args(random)
    const [x, dtype] = args
    return args.with(4, new dtypes[dtypeOfCode(dtype as number)].array((x as HostArray).length))
  },
}))
