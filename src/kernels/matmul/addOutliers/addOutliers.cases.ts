import { qint8 } from '../../../core/qtype.ts'
import type { KernelCase } from '../../case.ts'
import { dotTolerance, inBfloat16, normals, replaced } from '../../inputs.ts'
import { tileByteLength, tilePack } from '../../layout/tilePack/tilePack.ts'
import { untileFloats } from '../qmatmul/groupValues.ts'
import { untileCodes } from '../qmatmul/qmatmul.ts'
import { randomCodes, tiledFloats } from '../qmatmul/weightInputs.ts'

type Floats = Float32Array

/** Every `every`-th column is one of outliers, from the last one back. */
function productCase(M: number, N: number, K: number, every: number): KernelCase {
  return {
    name: `M=${M} N=${N} K=${K}, an outlier in ${every}`,
    args(random) {
      const outliers = Uint8Array.from({ length: K }, (_, k) => ((K - 1 - k) % every === 0 ? 1 : 0))
      const w = new Uint8Array(tileByteLength(8, N, K))
      tilePack(randomCodes(random, qint8, N * K), w, 8, N, K)
      const scale = Float32Array.from({ length: N }, () => 0.001 * (1 + random.uniform()))
      const y = normals(random, M * N)
      return [normals(random, M * K, 10), outliers, w, tiledFloats(scale, 'float32', N, 1), y, M, N, K]
    },
    tolerance(args) {
      const [x, outliers, w, scale, y] = args as [Floats, Uint8Array, Uint8Array, Floats, Floats]
      const scales = untileFloats(scale, 0, N, 1)
      const weights = untileCodes(w, qint8.code, N, K).map((q, i) => q * scales[Math.floor(i / K)])
      const chosen = x.map((value, i) => (outliers[i % K] ? value : 0))
      const bounds = dotTolerance(chosen, weights, null, M, N, K)
      return bounds.map((bound, i) => bound + 2 ** -23 * Math.abs(y[i]))
    },
    defects: {
      'x in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Floats)),
      'one column less': (args) => replaced(args, 1, (args[1] as Uint8Array).with(K - 1, 0)),
      'scales moved by a row': (args) =>
        replaced(
          args,
          3,
          (args[3] as Floats).map((_, i, all) => all[i ^ 1]),
        ),
    },
    work: { operations: (2 * M * N * K) / every, bytes: (N * K) / every },
  }
}

export const cases: KernelCase[] = [
  productCase(1, 17, 5, 2),
  productCase(3, 48, 172, 7),
  productCase(5, 33, 1031, 3),
  productCase(2, 64, 300, 1),
]

export const benchmarks: KernelCase[] = [1, 512].map((M) => productCase(M, 4096, 4096, 100))
