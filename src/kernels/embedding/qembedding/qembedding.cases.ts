import { type DType, dtypes } from '../../../core/dtype.ts'
import {
  e2m1,
  iq4_nl,
  type QType,
  qint2,
  qint3,
  qint4,
  qint5,
  qint6,
  qint8,
  qtypesByCode,
} from '../../../core/qtype.ts'
import type { KernelCase } from '../../case.ts'
import { normals, replaced } from '../../inputs.ts'
import { tileByteLength, tilePack } from '../../layout/tilePack/tilePack.ts'
import {
  float8Groups,
  type GroupCodes,
  groupCodeArgs,
  groupCodeDefects,
  kQuants,
} from '../../matmul/qmatmul/groupCodes.ts'
import { plainGroups } from '../../matmul/qmatmul/groupValues.ts'
import { randomCodes, tiledFloats, tiledOffsets } from '../../matmul/qmatmul/weightInputs.ts'

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
      return [...weights, ids, new Float32Array(count * K), count, rows, K, groupSize, ...plainGroups]
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

/** With scales and shifts in codes. */
function codedCase(codes: GroupCodes, qtype: QType, rows: number, K: number, groupSize: number): KernelCase {
  const plain = qembeddingCase(qtype, 7, rows, K, groupSize, 'float16')
  return {
    ...plain,
    name: `${plain.name}, codes as in ${codes.name}`,
    args(random) {
      const args = plain.args(random)
      const groups = Math.ceil(K / groupSize)
      const { scale, offset, dtypes, encoding } = groupCodeArgs(random, codes, qtype.qmax, rows, groups)
      return [...args.slice(0, 2), scale, offset, ...dtypes, ...args.slice(6, 12), ...encoding]
    },
    defects: {
      'the row before': plain.defects?.['the row before'] as never,
      ...groupCodeDefects(codes, 3, 12),
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
  ...qtypesByCode.map((qtype) => qembeddingCase(qtype, 3, 17, 172, 16)),
  codedCase(kQuants.Q4_K, qint4, 37, 512, 32),
  codedCase(kQuants.Q4_K, qint5, 19, 256, 32),
  codedCase(kQuants.Q2_K, qint2, 37, 512, 16),
  codedCase(kQuants.Q3_K, qint3, 37, 256, 16),
  codedCase(kQuants.Q6_K, qint6, 37, 768, 16),
  codedCase(kQuants.IQ4_XS, iq4_nl, 37, 512, 32),
  codedCase(float8Groups.MXFP4, e2m1, 37, 172, 32),
  codedCase(float8Groups.NVFP4, e2m1, 37, 172, 16),
  codedCase(float8Groups.divided, e2m1, 37, 172, 16),
]
