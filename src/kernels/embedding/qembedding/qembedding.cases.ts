import { type DType, dtypes } from '../../../core/dtype.ts'
import { type QType, qint4, qint8, qtypesByCode } from '../../../core/qtype.ts'
import type { KernelCase } from '../../case.ts'
import { normals, replaced } from '../../inputs.ts'
import { tileByteLength, tilePack } from '../../layout/tilePack/tilePack.ts'
import { randomCodes, tiledFloats, tiledOffsets } from '../../matmul/qmatmul/qmatmul.cases.ts'

function qembeddingCase(
  qtype: QType,
  count: number,
  rows: number,
  K: number,
  groupSize = K,
  scaleDtype: DType = 'float32',
  offsetDtype = scaleDtype,
): KernelCase {
  const groups = Math.ceil(K / groupSize)
  return {
    name: `count=${count} rows=${rows} K=${K} ${qtype.name} groups of ${groupSize} ${scaleDtype}${offsetDtype === 'uint8' ? ' zero points' : ''}`,
    args(random) {
      const w = new Uint8Array(tileByteLength(qtype.bits, rows, K))
      tilePack(randomCodes(random, qtype, rows * K), w, qtype.bits, rows, K)
      const scale = normals(random, rows * groups)
      const offset = tiledOffsets(random, qtype, scale, offsetDtype, rows, groups)
      const ids = Int32Array.from({ length: count }, () => Math.floor(random.uniform() * rows))
      ids[count - 1] = rows - 1
      const dtypeCodes = [dtypes[scaleDtype].code, dtypes[offsetDtype].code]
      const weights = [w, qtype.code, tiledFloats(scale, scaleDtype, rows, groups), offset, ...dtypeCodes]
      return [...weights, ids, new Float32Array(count * K), count, rows, K, groupSize]
    },
    tolerance: () => 'exact',
    defects: {
      'the row before': (args) => {
        const before = (args[6] as Int32Array).map((id) => (id + rows - 1) % rows)
        return replaced(args, 6, before)
      },
      ...(qtype.unsigned && { 'no shift': (args) => replaced(args, 3, null) }),
    },
  }
}

export const cases: KernelCase[] = [
  ...qtypesByCode.flatMap((qtype) => [
    qembeddingCase(qtype, 5, 40, 172),
    qembeddingCase(qtype, 3, 17, 96, 32, 'float16'),
    qembeddingCase(qtype, 3, 17, 96, 32, 'bfloat16'),
  ]),
  qembeddingCase(qint8, 200, 100, 256, 32, 'float16'),
  ...qtypesByCode
    .filter(({ unsigned }) => unsigned)
    .map((qtype) => qembeddingCase(qtype, 5, 37, 172, 32, 'bfloat16', 'uint8')),
  qembeddingCase(qint4, 1, 2, 7),
]
