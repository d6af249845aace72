import type { KernelCase } from '../../case.ts'
import { counts, replaced } from '../../inputs.ts'
import { unaryInt8Ops } from './unaryInt8.ts'

/** Every code, −128 among them. */
export const cases: readonly KernelCase[] = Object.entries(unaryInt8Ops).flatMap(([name, op]) =>
  counts.map((count) => ({
    name: `${name} count=${count}`,
    args: () => [
      op,
      Uint8Array.from({ length: count }, (_, i) => 128 - 53 * i),
      new Uint8Array(count),
      count,
    ],
    tolerance: () => 'exact',
    defects:
      count < 3
        ? undefined
        : ({ 'the other operation': (args) => replaced(args, 0, 1 - op) } as KernelCase['defects']),
  })),
)
