import type { KernelCase } from '../../case.ts'
import { tileByteLength } from './tilePack.ts'

function tilePackCase(bits: number, rows: number, cols: number): KernelCase {
  const codeBytes = Math.ceil(bits / 8)
  return {
    name: `${bits} bits rows=${rows} cols=${cols}`,
    args(random) {
      const mask = bits >= 16 ? 255 : 2 ** bits - 1
      const x = Uint8Array.from({ length: rows * cols * codeBytes }, () => random.uint32() & mask)
      return [x, new Uint8Array(tileByteLength(bits, rows, cols)).fill(0xa5), bits, rows, cols]
    },
    tolerance: () => 'exact',
    defects: {
      'last code changed': (args) =>
        args.with(
          0,
          (args[0] as Uint8Array).map((code, i, all) => (i === all.length - 1 ? code ^ 1 : code)),
        ),
    },
    work: { operations: 0, bytes: rows * cols * codeBytes + tileByteLength(bits, rows, cols) },
  }
}

export const cases: KernelCase[] = [1, 2, 3, 4, 5, 6, 7, 8, 16, 32].flatMap((bits) => [
  tilePackCase(bits, 1, 1),
  tilePackCase(bits, 16, 32),
  tilePackCase(bits, 17, 13),
  tilePackCase(bits, 37, 172),
  tilePackCase(bits, 130, 521),
])
