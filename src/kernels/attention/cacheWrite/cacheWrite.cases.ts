import { type DType, dtypes } from '../../../core/dtype.ts'
import type { KernelCase } from '../../case.ts'
import { normals, rawOf } from '../../inputs.ts'

function cacheWriteCase(
  batch: number,
  tokens: number,
  heads: number,
  headSize: number,
  position: number,
  capacity: number,
  positions: readonly number[] | null = null,
  [from, to]: readonly [DType, DType] = ['float32', 'float32'],
): KernelCase {
  const count = batch * tokens * heads * headSize
  return {
    name: `batch=${batch} tokens=${tokens} heads=${heads} headSize=${headSize} position=${position} capacity=${capacity} positions=${positions} ${from} to ${to}`,
    args: (random) => [
      rawOf(from, normals(random, count)),
      dtypes[from].code,
      // What is there already must stay.
      rawOf(to, normals(random, batch * heads * capacity * headSize)),
      dtypes[to].code,
      positions && Int32Array.from(positions),
      ...[batch, tokens, heads, headSize, position, capacity],
    ],
    tolerance: () => 'exact',
    defects: {
      'one number changed': (args) =>
        args.with(
          0,
          (args[0] as Float32Array).map((value, i) => (i === count - 1 ? value + 1 : value)),
        ),
      ...(position > 0 && { 'one position earlier': (args) => args.with(9, position - 1) }),
    },
    work: { operations: 0, bytes: 8 * count },
  }
}

export const cases: KernelCase[] = [
  cacheWriteCase(1, 1, 1, 1, 0, 1),
  cacheWriteCase(1, 1, 6, 48, 12, 16),
  cacheWriteCase(2, 3, 2, 37, 4, 7),
  cacheWriteCase(3, 67, 8, 64, 1, 70),
  // Rings: one token, some behind the end, more than there is room for.
  cacheWriteCase(2, 1, 2, 20, 37, 8),
  cacheWriteCase(2, 5, 2, 16, 14, 8),
  cacheWriteCase(1, 43, 3, 7, 5, 8),
  // Places of their own; one is left out.
  cacheWriteCase(4, 1, 2, 16, 1, 70, [5, -2, 68, 0]),
  cacheWriteCase(3, 5, 2, 9, 2, 8, [4, 0, 9]),
  // Rounded, and halves as they are.
  cacheWriteCase(2, 3, 2, 37, 4, 9, null, ['float32', 'float16']),
  cacheWriteCase(1, 5, 3, 64, 2, 7, null, ['float32', 'float8_e4m3fn']),
  cacheWriteCase(2, 5, 2, 20, 14, 8, [0, 3], ['float16', 'float16']),
]
