import type { KernelCase } from '../../case.ts'
import { counts, replaced } from '../../inputs.ts'

export const cases: KernelCase[] = [...counts, 600_000].map((bytes) => ({
  name: `bytes=${bytes}`,
  args: (random) => [Uint8Array.from({ length: bytes }, () => random.uint32()), new Uint8Array(bytes), bytes],
  tolerance: () => 'exact',
  defects: {
    'one bit': (args) =>
      replaced(args, 0, (args[0] as Uint8Array).with(bytes - 1, (args[0] as Uint8Array)[bytes - 1] ^ 1)),
  },
}))
