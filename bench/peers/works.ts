import type { QType, QTypeName } from '../../src/core/qtype.ts'
import type { ComputeDType } from '../../src/qtensor/computeDtype.ts'
import type { QuantizerName } from '../../src/quantize/quantizers.ts'

/** A library that products are measured beside. */
export type PeerName = 'onnxruntime' | 'ggml' | 'bitsandbytes' | 'torchao' | 'torch' | 'onnxruntime-web'

/** What every library is asked for. */
interface Asked {
  name: string
  /** What bounds it: reading weights, multiplying integers or floats. */
  limit: 'read' | 'int8' | 'float32' | 'bfloat16'
  peers: readonly PeerName[]
}

/** MobileNetV2 with weights and activations of int8, their scales known beforehand. */
export interface NetworkWork extends Asked {
  /** Images [3, 224, 224]. */
  batch: number
}

/** One product y [rows, n] = x [rows, k] · W, of one layer. */
export interface LayerWork extends Asked {
  rows: number
  n: number
  k: number
  weights: QTypeName | QType | 'float32'
  /** What chooses the codes; by default what `quantize` takes. */
  algorithm?: QuantizerName
  /** Columns that share a scale; null: a whole row. */
  groupSize: number | null
  /** What lowbit multiplies. */
  computeDtype: ComputeDType
  /** Whether W is [k, n] and not [n, k]. */
  plain: boolean
  /** How many copies of the weight take turns, so that each is read from memory. */
  copies: number
}

export type Work = LayerWork | NetworkWork

/** Of weights that are read from memory: more than any cache holds. */
export const coldBytes = 512e6

type Kind = Pick<LayerWork, 'weights' | 'algorithm' | 'groupSize' | 'computeDtype' | 'peers'> & {
  name: string
  bits: number
}

const kinds: readonly Kind[] = [
  {
    ...{ name: '4 bits, groups of 32', weights: 'int4', bits: 4, groupSize: 32, computeDtype: 'int8' },
    peers: ['onnxruntime'],
  },
  // ggml's own, without shifts: both read the same bytes.
  {
    ...{ name: 'Q4_0', weights: 'int4', bits: 4, algorithm: 'q4_0', groupSize: 32, computeDtype: 'int8' },
    peers: ['ggml'],
  },
  {
    ...{ name: '4 bits, groups of 128', weights: 'int4', bits: 4, groupSize: 128, computeDtype: 'int8' },
    peers: ['onnxruntime'],
  },
  {
    ...{ name: 'int8, groups of 32', weights: 'int8', bits: 8, groupSize: 32, computeDtype: 'int8' },
    peers: ['onnxruntime'],
  },
  {
    ...{ name: 'Q8_0', weights: 'int8', bits: 8, algorithm: 'q8_0', groupSize: 32, computeDtype: 'int8' },
    peers: ['ggml'],
  },
  {
    ...{ name: 'int8, rows', weights: 'int8', bits: 8, groupSize: null, computeDtype: 'int8PerToken' },
    peers: ['onnxruntime', 'bitsandbytes'],
  },
  {
    ...{ name: 'NF4', weights: 'nf4', bits: 4, groupSize: 64, computeDtype: 'bfloat16' },
    peers: ['bitsandbytes'],
  },
  {
    ...{ name: 'float8, rows', weights: 'float8', bits: 8, groupSize: null, computeDtype: 'bfloat16' },
    peers: ['torchao'],
  },
]

const linears = ({ name, bits, ...kind }: Kind): LayerWork[] =>
  [1, 512].map((rows) => ({
    ...kind,
    name: `4096 × 4096, ${name}, ${rows === 1 ? '1 row, cold' : `${rows} rows`}`,
    ...{ rows, n: 4096, k: 4096, plain: false },
    copies: rows === 1 ? Math.ceil(coldBytes / (4096 * 4096 * (bits / 8))) : 1,
    limit: rows === 1 ? 'read' : kind.computeDtype === 'bfloat16' ? 'bfloat16' : 'int8',
  }))

const floats = (rows: number, n: number, k: number, plain: boolean): LayerWork => ({
  name: `float32, ${rows} × ${n} × ${k}`,
  ...{ rows, n, k, plain, copies: 1 },
  ...{ weights: 'float32', groupSize: null, computeDtype: 'float32', limit: 'float32' },
  peers: ['torch', 'onnxruntime'],
})

/** One row of a layer that stays in a cache, several times a call. */
const warm = (size: number): LayerWork => ({
  name: `${size} × ${size}, 4 bits, groups of 32, 1 row`,
  ...{ rows: 1, n: size, k: size, plain: false, copies: 1 },
  ...{ weights: 'int4', groupSize: 32, computeDtype: 'int8', limit: 'int8' },
  peers: ['onnxruntime-web'],
})

/** Everything that is measured, in the order of the table. */
export const works: readonly Work[] = [
  ...kinds.flatMap(linears),
  floats(1024, 1024, 1024, true),
  floats(512, 4096, 4096, false),
  warm(2048),
  ...[1, 32].map((batch): NetworkWork => {
    return { name: `MobileNetV2, int8, batch ${batch}`, batch, limit: 'int8', peers: ['onnxruntime'] }
  }),
]
