import type { KernelCase } from '../../case.ts'
import { replaced } from '../../inputs.ts'
import { layoutArgs, layouts } from './layouts.ts'

export const cases: KernelCase[] = layouts.map((layout) => ({
  name: layout.name,
  args(random) {
    const packed = Uint8Array.from({ length: layout.packedBytes }, () => random.uint32() & 255)
    return [packed, new Uint8Array(layout.count), layout.order, ...layoutArgs(layout)]
  },
  tolerance: () => 'exact',
  defects: {
    'one bit': (args) =>
      replaced(args, 0, (args[0] as Uint8Array).with(0, (args[0] as Uint8Array)[0] ^ 0x11)),
    ...(layout.order && layout.count > 2 && { 'no order': (args) => replaced(args, 2, null) }),
  } as KernelCase['defects'],
}))
