import { type DType, dtypes } from '../../core/dtype.ts'
import { type QType, qfloat8_e4m3fn, qfloat8_e4m3fnuz, qfloat8_e5m2, qint2, qint4, qint5, qint8 } from '../../core/qtype.ts'
import type { KernelCase } from '../case.ts'
import { replaced } from '../inputs.ts'
import { randomCodes, tiledFloats } from '../qmatmul/qmatmul.cases.ts'
import { tileByteLength, tilePack } from '../tilePack/tilePack.ts'

function qembeddingCase(qtype: QType, count: number, rows: number, K: number, groupSize = K, scaleDtype: DType = 'float32'): KernelCase {
  const groups = Math.ceil(K / groupSize)
  return {
    name: `count=${count} rows=${rows} K=${K} ${qtype.name} groups of ${groupSize} ${scaleDtype}`,
    args(random) {
      const w = new Uint8Array(tileByteLength(qtype.bits, rows, K))
      tilePack(randomCodes(random, qtype, rows * K), w, qtype.bits, rows, K)
      const factors = () =>
        tiledFloats(
          Float32Array.from({ length: rows * groups }, () => random.normal()),
          scaleDtype,
          rows,
          groups,
        )
      const ids = Int32Array.from({ length: count }, () => Math.floor(random.uniform() * rows))
      ids[count - 1] = rows - 1
      const weights = [w, qtype.code, factors(), qtype.unsigned ? factors() : null, dtypes[scaleDtype].code]
      return [...weights, ids, new Float32Array(count * K), count, rows, K, groupSize]
    },
    tolerance: () => 'exact',
    defects: {
      'the row before': (args) => {
        const before = (args[5] as Int32Array).map((id) => (id + rows - 1) % rows)
        return replaced(args, 5, before)
      },
      ...(qtype.unsigned && { 'no shift': (args) => replaced(args, 3, null) }),
    },
  }
}

export const cases: KernelCase[] = [
  ...[qint2, qint4, qint5, qint8, qfloat8_e4m3fn, qfloat8_e5m2, qfloat8_e4m3fnuz].flatMap((qtype) => [
    qembeddingCase(qtype, 5, 40, 172),
    qembeddingCase(qtype, 3, 17, 96, 32, 'float16'),
  ]),
  qembeddingCase(qint8, 200, 100, 256, 32, 'float16'),
  qembeddingCase(qint4, 1, 2, 7),
]
