import type { DType } from '../../../core/dtype.ts'
import { dtypes, viewAs } from '../../../core/dtype.ts'
import type { KernelCase } from '../../case.ts'
import { normals } from '../../inputs.ts'

const vocabulary = 40

function embeddingCase(dtype: DType, count: number, cols: number): KernelCase {
  return {
    name: `count=${count} cols=${cols} ${dtype}`,
    args(random) {
      // Any bits: every pattern of the small types occurs, NaN, infinities and subnormals among them.
      const size = vocabulary * cols
      const bits = new Uint8Array(size * dtypes[dtype].bytes).map(() => random.uint32())
      const table = dtype === 'float32' ? normals(random, size) : viewAs(dtype, bits)
      const ids = Int32Array.from({ length: count }, () => Math.floor(random.uniform() * vocabulary))
      ids[count - 1] = vocabulary - 1
      return [table, dtypes[dtype].code, ids, new Float32Array(count * cols), count, cols]
    },
    tolerance: () => 'exact',
    defects: {
      'the row before': (args) =>
        args.with(
          2,
          (args[2] as Int32Array).map((id) => (id + vocabulary - 1) % vocabulary),
        ),
    },
    work: { operations: 0, bytes: count * cols * (4 + dtypes[dtype].bytes) },
  }
}

export const cases: KernelCase[] = [
  ...(['float32', 'float16', 'bfloat16', 'float8_e4m3fn', 'float8_e5m2', 'float8_e4m3fnuz'] as const).flatMap(
    (dtype) => [embeddingCase(dtype, 5, 172), embeddingCase(dtype, 3, 7)],
  ),
  embeddingCase('bfloat16', 1, 1024),
  embeddingCase('float16', 300, 288),
]
