/*
 * What the encoding of scales and offsets, and the size of groups, cost a product with int4 weights [4096,
 * 4096]:
 *
 *   node --conditions=lowbit-source bench/scales.ts [--device native] [--threads 2] [--rounds 15] [--tokens 512]
 *
 * With one row of x the weights come from memory: copies of at least 512 MB take turns. The lines of a table
 * take turns, too, so that whatever else the machine does meets all of them. A figure is that of the fastest
 * round, a ratio the median over the rounds of the first line's time ÷ this line's.
 */
import { parseArgs } from 'node:util'
import { type DType, dtypes } from '../src/core/dtype.ts'
import { qint4 } from '../src/core/qtype.ts'
import { Random } from '../src/core/random.ts'

import { openDevice } from '../src/devices/open.ts'
import { normals, rawOf } from '../src/kernels/inputs.ts'
import { quantizeRows } from '../src/qtensor/dynamic.ts'
import { Tensor } from '../src/tensor/tensor.ts'

const { values: options } = parseArgs({
  options: {
    device: { type: 'string', default: 'native' },
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '15' },
    tokens: { type: 'string', default: '512' },
  },
})
const [N, K] = [4096, 4096]
const outOfCacheBytes = 512e6

interface Encoding {
  groupSize: number
  scaleDtype: DType
  /** uint8: zero points; else shifts. */
  offsetDtype: DType
}

/** One line of a table: its words, and one call of its kernel on copy number `copy` of the weights. */
interface Line {
  words: string
  call(copy: number): void
  bytes: number
}

const device = openDevice(options.device as 'native', { threads: Number(options.threads) })
const random = new Random(1)

/** Device memory of so many bytes, the same given ones in all copies; any four bits are a code. */
function copiesOf(bytes: Uint8Array, count: number): Tensor[] {
  return Array.from({ length: count }, () => Tensor.fromArray(device, bytes, [bytes.length]))
}

const anyBytes = (count: number) => Uint8Array.from({ length: count }, () => random.uniform() * 256)

function floatTiles(dtype: DType, count: number, value: () => number): Uint8Array {
  return new Uint8Array(rawOf(dtype, Float32Array.from({ length: count }, value)).buffer)
}

/**
 * The product of x with weights of an encoding; `xGroupSize` columns of x share a scale, null: x is float32.
 */
function product(codes: Tensor[], x: Tensor, y: Tensor, encoding: Encoding, xGroupSize: number | null): Line {
  const { groupSize, scaleDtype, offsetDtype } = encoding
  const count = (N * K) / groupSize
  const scales = floatTiles(scaleDtype, count, () => 0.01 * (1 + random.uniform()))
  const offsets =
    offsetDtype === 'uint8'
      ? Uint8Array.from({ length: count }, () => 6 + random.uniform() * 4)
      : floatTiles(offsetDtype, count, () => 0.1 * (1 + random.uniform()))
  const [scale, offset] = [copiesOf(scales, codes.length), copiesOf(offsets, codes.length)]
  const M = x.numel / K
  const common = {
    qtype: qint4.code,
    scaleDtype: dtypes[scaleDtype].code,
    offsetDtype: dtypes[offsetDtype].code,
    ...{ bias: null, y, M, N, K, groupSize },
    ...{ valueDtype: 0, scaleBits: 0, scaleZero: 0, offsetBits: 0, shared: 0, zeroPoint: 0 },
  }
  const ofOffset = offsetDtype === 'uint8' ? 'zero point' : `${offsetDtype} shift`
  const words = `groups of ${groupSize}, ${scaleDtype} scale, ${ofOffset}`
  const bytes = (N * K) / 2 + scales.length + offsets.length
  if (xGroupSize === null) {
    const call = (i: number) =>
      device.call('qmatmul', {
        ...{ x, w: codes[i], scale: scale[i], offset: offset[i], ...common },
        ...{ transposed: 0, computeDtype: dtypes.float32.code },
      })
    return { words: `qmatmul ${words}`, call, bytes }
  }
  const [rows, xScale, xSum] = quantizeRows(x, xGroupSize, 127)
  const call = (i: number) => {
    const weights = { w: codes[i], scale: scale[i], offset: offset[i], ...common }
    device.call('qmatmulInt8', { x: rows, xScale, xSum, xGroupSize, ...weights })
  }
  return { words: `qmatmulInt8 ${words}, x in groups of ${xGroupSize}`, call, bytes }
}

/** Times the lines in turn, and prints each beside the first. */
async function compare(title: string, lines: Line[], copies: number, M: number): Promise<void> {
  const ms: number[][] = lines.map(() => [])
  for (let round = 0; round <= Number(options.rounds); round++) {
    for (const [i, line] of lines.entries()) {
      const started = performance.now()
      for (let copy = 0; copy < copies; copy++) line.call(copy)
      await device.sync()
      if (round > 0) ms[i].push((performance.now() - started) / copies)
    }
  }
  console.log(`${title}, ${device.name}, ${device.threads} threads`)
  for (const [i, line] of lines.entries()) {
    const best = Math.min(...ms[i])
    const ratios = ms[i].map((time, round) => ms[0][round] / time).sort((a, b) => a - b)
    const gops = `${((2 * M * N * K) / best / 1e6).toFixed(0).padStart(4)} GOP/s`
    const gbs = M === 1 ? `${(line.bytes / best / 1e6).toFixed(1).padStart(5)} GB/s` : ''
    console.log(`  ${line.words.padEnd(84)}${gops} ${gbs}  × ${ratios[ratios.length >> 1].toFixed(3)}`)
  }
}

async function compareEncodings(): Promise<void> {
  const copies = Math.ceil(outOfCacheBytes / ((N * K) / 2))
  const codes = copiesOf(anyBytes((N * K) / 2), copies)
  const x = Tensor.fromArray(device, normals(random, K), [1, K])
  const y = Tensor.empty(device, [1, N])
  const pairs: [DType, DType][] = [
    ['float32', 'float32'],
    ['float16', 'float16'],
    ['bfloat16', 'bfloat16'],
    ['float16', 'uint8'],
    ['bfloat16', 'uint8'],
  ]
  for (const xGroupSize of [null, 32]) {
    const lines = pairs.map(([scaleDtype, offsetDtype]) =>
      product(codes, x, y, { groupSize: 32, scaleDtype, offsetDtype }, xGroupSize),
    )
    await compare('One row of x', lines, copies, 1)
  }
}

async function compareGroups(tokens: number): Promise<void> {
  const codes = copiesOf(anyBytes((N * K) / 2), 1)
  const x = Tensor.fromArray(device, normals(random, tokens * K), [tokens, K])
  const y = Tensor.empty(device, [tokens, N])
  const sizes = [
    [32, 32],
    [128, 32],
    [128, 128],
    [K, 32],
    [K, K],
  ]
  for (const scaleDtype of ['float32', 'float16'] as const) {
    const lines = sizes.map(([groupSize, xGroupSize]) =>
      product(codes, x, y, { groupSize, scaleDtype, offsetDtype: scaleDtype }, xGroupSize),
    )
    await compare(`${tokens} rows of x`, lines, 1, tokens)
  }
}

await compareEncodings()
await compareGroups(Number(options.tokens))
await device.close()
