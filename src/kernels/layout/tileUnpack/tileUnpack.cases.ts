import type { KernelCase } from '../../case.ts'
import { tileByteLength } from '../tilePack/tilePack.ts'

function tileUnpackCase(bits: number, rows: number, cols: number): KernelCase {
  const codeBytes = Math.ceil(bits / 8)
  return {
    name: `${bits} bits rows=${rows} cols=${cols}`,
    args(random) {
      // Padding holds anything: it must not reach x.
      const tiles = Uint8Array.from({ length: tileByteLength(bits, rows, cols) }, () => random.uint32() & 255)
      return [tiles, new Uint8Array(rows * cols * codeBytes), bits, rows, cols]
    },
    tolerance: () => 'exact',
    defects: {
      'first code changed': (args) =>
        args.with(
          0,
          (args[0] as Uint8Array).map((byte, i) => (i === 0 ? byte ^ 1 : byte)),
        ),
    },
    work: { operations: 0, bytes: rows * cols * codeBytes + tileByteLength(bits, rows, cols) },
  }
}

export const cases: KernelCase[] = [1, 2, 3, 4, 5, 6, 7, 8, 16, 32].flatMap((bits) => [
  tileUnpackCase(bits, 1, 1),
  tileUnpackCase(bits, 16, 32),
  tileUnpackCase(bits, 17, 13),
  tileUnpackCase(bits, 37, 172),
  tileUnpackCase(bits, 130, 521),
])
