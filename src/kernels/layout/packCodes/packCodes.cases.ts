import type { KernelCase } from '../../case.ts'
import { replaced } from '../../inputs.ts'
import { layoutArgs, layouts } from '../unpackCodes/layouts.ts'

export const cases: KernelCase[] = layouts.map((layout) => ({
  name: layout.name,
  args(random) {
    const codes = Uint8Array.from({ length: layout.count }, () => random.uint32() & (2 ** layout.bits - 1))
    return [codes, new Uint8Array(layout.packedBytes).fill(255), layout.order, ...layoutArgs(layout)]
  },
  tolerance: () => 'exact',
  defects: {
    'one bit': (args) => replaced(args, 0, (args[0] as Uint8Array).with(0, (args[0] as Uint8Array)[0] ^ 1)),
    ...(layout.order && layout.count > 2 && { 'no order': (args) => replaced(args, 2, null) }),
  } as KernelCase['defects'],
}))
