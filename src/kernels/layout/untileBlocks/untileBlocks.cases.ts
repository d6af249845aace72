import type { KernelCase } from '../../case.ts'
import { replaced } from '../../inputs.ts'
import { randomBlocks } from '../tileBlocks/tileBlocks.cases.ts'
import { type BlockType, blockTypes, tileBlocks } from '../tileBlocks/tileBlocks.ts'
import { tileByteLength } from '../tilePack/tilePack.ts'

function untileBlocksCase(name: string, block: BlockType, rows: number, cols: number): KernelCase {
  const count = (rows * cols) / 32
  const codes = tileByteLength(block.bits, rows, cols)
  const scales = tileByteLength(16, rows, cols / 32)
  return {
    name: `${name} rows=${rows} cols=${cols}`,
    args: (random) => {
      const [codeTiles, scaleTiles] = [new Uint8Array(codes), new Uint8Array(scales)]
      const shiftTiles = block.multiple === 0 ? null : new Uint8Array(scales)
      tileBlocks(
        randomBlocks(random, block, count),
        block.type,
        codeTiles,
        scaleTiles,
        shiftTiles,
        rows,
        cols,
      )
      return [codeTiles, scaleTiles, shiftTiles, block.type, new Uint8Array(count * block.bytes), rows, cols]
    },
    tolerance: () => 'exact',
    defects: {
      'first code changed': (args) =>
        replaced(
          args,
          0,
          (args[0] as Uint8Array).map((byte, i) => (i === 0 ? byte ^ 1 : byte)),
        ),
      'scale changed': (args) =>
        replaced(
          args,
          1,
          (args[1] as Uint8Array).map((byte, i) => (i === 0 ? byte ^ 1 : byte)),
        ),
    },
    work: { operations: 0, bytes: count * block.bytes + codes + 2 * scales },
  }
}

export const cases: KernelCase[] = Object.entries(blockTypes).flatMap(([name, block]) => [
  untileBlocksCase(name, block, 1, 32),
  untileBlocksCase(name, block, 17, 96),
  untileBlocksCase(name, block, 130, 544),
])
