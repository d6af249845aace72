// npm run bench:rows [-- --device native] [--threads 2] [--only Q4_K] [--rounds 5]
//
// One row of x by a layer of 4096 × 4096 with each kind of weights, read from memory: GB/s of the weight's
// bytes, products in float32 and, where codes are integers, in int8; and their share of what a loop reaches
// that does nothing but read. A time is the least.
import { loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { qint5, qint6, qtypesByCode } from '../src/core/qtype.ts'
import { openDevice } from '../src/devices/open.ts'
import { computedDtype } from '../src/qtensor/product.ts'
import { ggufCodes } from '../src/quantize/ggufQuantizers.ts'
import { measureLimits } from './limits.ts'
import { prepare, time } from './peers/ours.ts'
import { type Row, text } from './peers/report.ts'
import { coldBytes, type LayerWork } from './peers/works.ts'

const { values } = parseArgs({
  options: {
    device: { type: 'string', default: 'native' },
    threads: { type: 'string', default: '2' },
    only: { type: 'string', default: '' },
    rounds: { type: 'string', default: '5' },
  },
})
const size = 4096
const turnMs = 200

type Kind = Pick<LayerWork, 'weights' | 'algorithm' | 'groupSize'> & { name: string }

const gguf = ['Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0', 'Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K'] as const
const kinds: readonly Kind[] = [
  ...(['int2', 'int3', 'int4', 'int8'] as const).map((weights) => ({
    ...{ name: `${weights}, groups of 32`, weights, groupSize: 32 },
  })),
  ...[qint5, qint6].map((weights) => ({ name: `${weights.name}, groups of 32`, weights, groupSize: 32 })),
  { name: 'int4, groups of 128', weights: 'int4', groupSize: 128 },
  { name: 'int8, rows', weights: 'int8', groupSize: null },
  ...(['float8_e4m3fn', 'float8_e5m2', 'float8_e4m3fnuz'] as const).map((weights) => ({
    ...{ name: `${weights}, rows`, weights, groupSize: null },
  })),
  { name: 'NF4', weights: 'nf4', groupSize: 64 },
  { name: 'FP4', weights: 'fp4', groupSize: 64 },
  ...([...gguf, 'IQ4_NL', 'IQ4_XS', 'MXFP4'] as const).map((name) => ({
    ...{ name, weights: ggufCodes(name), groupSize: null },
    algorithm: name.toLowerCase() as Lowercase<typeof name>,
  })),
]

const threads = Number(values.threads)
const device = openDevice(values.device as 'native' | 'wasm', { threads })
const { readGBs = 0 } = (await measureLimits(threads)).at(-1) ?? {}
const rows: Row[] = []
for (const { name, ...kind } of kinds.filter((kind) => kind.name.includes(values.only))) {
  const codes = qtypesByCode.find((one) => one === kind.weights || one.name.endsWith(String(kind.weights)))
  const row: Row = { weights: name }
  for (const computeDtype of ['float32', 'int8'] as const) {
    row[computeDtype] = '–'
    if (codes && computedDtype(codes, computeDtype) !== computeDtype) continue
    const work: LayerWork = {
      ...{ name, ...kind, computeDtype, rows: 1, n: size, k: size, plain: false, limit: 'read', peers: [] },
      copies: Math.ceil(coldBytes / 2 / (size * size * ((codes?.bits ?? 8) / 8))),
    }
    const ours = await prepare(device, work)
    // The first turn waits for the copies.
    await time(ours, turnMs)
    let least = Infinity
    for (let round = 0; round < Number(values.rounds); round++)
      least = Math.min(least, await time(ours, turnMs))
    const rate = ours.bytes / least / 1e6
    row[computeDtype] = `${rate.toFixed(1)} GB/s, ${((100 * rate) / readGBs).toFixed(0)} %`
    row.bytes = String(ours.bytes)
    ours.dispose()
  }
  rows.push(row)
  process.stderr.write(`${Object.values(row).join(' | ')}\n`)
}
console.log(`${text(rows)}
${device.name}, ${threads} threads, reads ${readGBs.toFixed(1)} GB/s; load before ${loadavg()[0].toFixed(1)}`)
await device.close()
