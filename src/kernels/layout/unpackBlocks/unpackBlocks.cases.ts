import type { Random } from '../../../core/random.ts'
import type { KernelCase } from '../../case.ts'
import { replaced } from '../../inputs.ts'

/** A way in which blocks hold values. */
export interface BlockLayout {
  name: string
  blockBytes: number
  blockValues: number
  fields: readonly (readonly number[])[]
}

/** Fields of every kind, the second and third of GGUF's Q4_K scales and Q5_0 codes; see unpackBlocks. */
export const layouts: readonly BlockLayout[] = [
  { name: 'bytes', blockBytes: 34, blockValues: 32, fields: [[0, 1, 32, 2, 0, 8, 0]] },
  {
    name: 'six bits, two of them elsewhere',
    blockBytes: 17,
    blockValues: 16,
    fields: [
      [0, 1, 4, 4, 0, 6, 0],
      [8, 1, 4, 8, 0, 6, 0],
      [4, 1, 4, 12, 0, 4, 0],
      [4, 1, 4, 4, 6, 2, 4],
      [12, 1, 4, 12, 4, 4, 0],
      [12, 1, 4, 8, 6, 2, 4],
    ],
  },
  {
    name: 'nibbles and bits, several bytes apart',
    blockBytes: 22,
    blockValues: 32,
    fields: [
      [0, 1, 16, 6, 0, 4, 0],
      [16, 1, 16, 6, 4, 4, 0],
      ...Array.from({ length: 8 }, (_, bit) => [bit, 8, 4, 2, bit, 1, 4]),
    ],
  },
  {
    name: 'pairs of bits and a bit more of each',
    blockBytes: 14,
    blockValues: 36,
    fields: [
      ...[0, 1, 2, 3].map((i) => [9 * i, 1, 9, 1, 2 * i, 2, 0]),
      ...[0, 1, 2, 3].map((i) => [9 * i, 1, 4, 10, i, 1, 2]),
    ],
  },
]

/** Digits to base 3, which are only read. */
const digits: BlockLayout = {
  name: 'digits to base 3',
  blockBytes: 54,
  blockValues: 256,
  fields: [
    ...[0, 1, 2, 3, 4].flatMap((i) => [
      [32 * i, 1, 32, 0, i, 0, 0],
      [160 + 16 * i, 1, 16, 32, i, 0, 0],
    ]),
    ...[0, 1, 2, 3].map((i) => [240 + 4 * i, 1, 4, 48, i, 0, 0]),
  ],
}

export const randomBytes = (random: Random, length: number) =>
  Uint8Array.from({ length }, () => random.uint32() & 255)

function unpackCase({ name, blockBytes, blockValues, fields }: BlockLayout, count: number): KernelCase {
  return {
    name: `${count} blocks of ${blockBytes} bytes: ${name}`,
    args: (random) => [
      ...[randomBytes(random, count * blockBytes), Int32Array.from(fields.flat()), fields.length],
      ...[new Uint8Array(count * blockValues), count, blockBytes, blockValues],
    ],
    tolerance: () => 'exact',
    defects: {
      'a bit of the last field': (args) => {
        const [, , , at, shift] = fields[fields.length - 1]
        const blocks = (args[0] as Uint8Array).slice()
        blocks[(count - 1) * blockBytes + at] ^= 128 >> (shift === 0 ? 0 : 7 - shift)
        return replaced(args, 0, blocks)
      },
      'one field less': (args) => replaced(args, 2, fields.length - 1),
    },
    work: { operations: 0, bytes: count * (blockBytes + blockValues) },
  }
}

export const cases: KernelCase[] = [...layouts, digits].flatMap((layout) => [
  unpackCase(layout, 1),
  unpackCase(layout, 3),
  unpackCase(layout, 1700),
])

export const benchmarks: KernelCase[] = [...layouts, digits].map((layout) => unpackCase(layout, 65536))
