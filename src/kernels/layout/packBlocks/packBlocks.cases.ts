import type { KernelCase } from '../../case.ts'
import { replaced } from '../../inputs.ts'
import { type BlockLayout, layouts, randomBytes } from '../unpackBlocks/unpackBlocks.cases.ts'

/** Values have bits that no field takes, and blocks hold something before. */
function packCase({ name, blockBytes, blockValues, fields }: BlockLayout, count: number): KernelCase {
  return {
    name: `${count} blocks of ${blockBytes} bytes: ${name}`,
    args: (random) => [
      ...[randomBytes(random, count * blockValues), Int32Array.from(fields.flat()), fields.length],
      ...[randomBytes(random, count * blockBytes), count, blockBytes, blockValues],
    ],
    tolerance: () => 'exact',
    defects: {
      'a bit of the last field': (args) => {
        const [first, , , , , , from] = fields[fields.length - 1]
        const values = (args[0] as Uint8Array).slice()
        values[(count - 1) * blockValues + first] ^= 1 << from
        return replaced(args, 0, values)
      },
      'blocks that held something else': (args) =>
        replaced(
          args,
          3,
          (args[3] as Uint8Array).map((byte, i) => (i === 0 ? byte ^ 1 : byte)),
        ),
    },
    work: { operations: 0, bytes: count * (2 * blockBytes + blockValues) },
  }
}

export const cases: KernelCase[] = layouts.flatMap((layout) => [
  packCase(layout, 1),
  packCase(layout, 3),
  packCase(layout, 1700),
])
