import { encodeFloat } from '../../../core/halves.ts'
import type { Random } from '../../../core/random.ts'
import type { KernelCase } from '../../case.ts'
import { replaced } from '../../inputs.ts'
import { tileByteLength } from '../tilePack/tilePack.ts'
import { type BlockType, blockTypes } from './tileBlocks.ts'

/** Random blocks; d and m are finite float16. */
export function randomBlocks(random: Random, { bytes, multiple }: BlockType, count: number): Uint8Array {
  const blocks = Uint8Array.from({ length: count * bytes }, () => random.uint32() & 255)
  for (let i = 0; i < count * bytes; i += bytes) {
    for (let at = i; at < i + (multiple === 'minimum' ? 4 : 2); at += 2) {
      const half = encodeFloat('float16', random.normal())
      blocks.set([half & 255, half >> 8], at)
    }
  }
  return blocks
}

function tileBlocksCase(name: string, block: BlockType, rows: number, cols: number): KernelCase {
  const codes = tileByteLength(block.bits, rows, cols)
  const scales = tileByteLength(16, rows, cols / 32)
  return {
    name: `${name} rows=${rows} cols=${cols}`,
    args: (random) => {
      const outputs = [
        new Uint8Array(codes),
        new Uint8Array(scales),
        block.multiple === 0 ? null : new Uint8Array(scales),
      ]
      return [randomBlocks(random, block, (rows * cols) / 32), block.type, ...outputs, rows, cols]
    },
    tolerance: () => 'exact',
    defects: {
      'last byte changed': (args) =>
        replaced(
          args,
          0,
          (args[0] as Uint8Array).map((byte, i, all) => (i === all.length - 1 ? byte ^ 1 : byte)),
        ),
      'scale changed': (args) =>
        replaced(
          args,
          0,
          (args[0] as Uint8Array).map((byte, i) => (i === 0 ? byte ^ 1 : byte)),
        ),
    },
    work: { operations: 0, bytes: (rows * cols * block.bytes) / 32 + codes + 2 * scales },
  }
}

export const cases: KernelCase[] = Object.entries(blockTypes).flatMap(([name, block]) => [
  tileBlocksCase(name, block, 1, 32),
  tileBlocksCase(name, block, 17, 96),
  tileBlocksCase(name, block, 130, 544),
])

export const benchmarks: KernelCase[] = Object.entries(blockTypes).map(([name, block]) =>
  tileBlocksCase(name, block, 4096, 4096),
)
