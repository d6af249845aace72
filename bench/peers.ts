// npm run bench:peers -- onnxruntime|ggml|bitsandbytes|torchao|torch|onnxruntime-web [--only PART]
// [--threads N] [--rounds 7] [--record]
//
// Products of single layers, and a small network, beside a library, which is installed when it is first
// needed and computes the same shapes in a process of its own. Both take turns. A time is the least of a
// turn, the median over the rounds; a ratio is theirs ÷ ours in one round, the median. --only takes the works
// whose name has this part. --record merges the rows into bench/results/peers.json (peers-avx2.json on a
// machine of that instruction set) and remakes the tables of the documentation.
import { execFileSync } from 'node:child_process'
import { cpus, loadavg } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { openDevice } from '../src/devices/open.ts'
import { findPython } from '../test/interop/python.ts'
import { type Limits, measureLimits, mostOf } from './limits.ts'
import { Answerer, install, installPeer } from './peers/client.ts'
import { mobileNetOperations } from './peers/mobileNet.ts'
import { prepare, time } from './peers/ours.ts'
import { median, type Row, text } from './peers/report.ts'
import { readResults, resultsSuffix, writeResults } from './peers/results.ts'
import { type PeerName, type Work, works } from './peers/works.ts'

/** How a library is started that lowbit is measured beside, and where lowbit computes then. */
interface Peer {
  readonly device: 'native' | 'wasm'
  readonly threads: number
  /** Installs it where it is not there yet, and starts it. */
  readonly start: (threads: string) => Promise<Answerer>
}

/** One work, and what it took: medians in milliseconds, bytes of the weights that each of both reads. */
interface Measured {
  work: Work
  /** The peer's product, in its words. */
  what: string
  ours: number
  theirs: number
  ratios: number[]
  ourBytes: number
  theirBytes: number
}

const python = (name: PeerName, interpreter: () => Promise<string>): Peer => ({
  device: 'native',
  threads: 2,
  start: async (threads) => new Answerer(await interpreter(), `python/${name}_peer.py`, threads),
})
const node = (device: Peer['device'], threads: number, installed: () => boolean, file: string): Peer => ({
  device,
  threads,
  start: async (threads) => {
    if (!installed()) throw new Error(`bench:peers: npm did not install what ${file} needs`)
    return new Answerer(process.execPath, file, threads)
  },
})
const peers: Record<PeerName, Peer> = {
  onnxruntime: python('onnxruntime', () => findPython('onnxruntime', 'bench/peers')),
  bitsandbytes: python('bitsandbytes', findPython),
  torchao: python('torchao', () => findPython('torchao')),
  torch: python('torch', findPython),
  ggml: node('native', 2, () => installPeer('llama.cpp'), 'ggmlProducts.ts'),
  'onnxruntime-web': node('wasm', 1, () => install('web', ['onnxruntime-web']), 'web/onnxruntimeWeb.ts'),
}
/** Milliseconds of a turn, and of quiet after it: threads of a peer spin on, ONNX Runtime's for 55. */
const turnMs = 300
const quietMs = 100

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string', default: '' },
    threads: { type: 'string' },
    rounds: { type: 'string', default: '7' },
    record: { type: 'boolean', default: false },
  },
})
const [name] = positionals as PeerName[]
if (!(name in peers))
  throw new Error(`bench:peers: takes one of ${Object.keys(peers).join(', ')}; received ${name}`)
const threads = Number(values.threads ?? peers[name].threads)
const wasm = peers[name].device === 'wasm'
const load = loadavg()[0]
const device = openDevice(peers[name].device, { threads })
const before = await measureLimits(threads)
using peer = await peers[name].start(String(threads))
const results = `peers${await resultsSuffix()}`
const versions = (await peer.ask({ call: 'versions' })) as string

const measured: Measured[] = []
for (const work of works.filter((work) => work.peers.includes(name) && work.name.includes(values.only))) {
  const product = await measure(work)
  measured.push(product)
  process.stderr.write(
    `${work.name}: ${product.ours.toFixed(3)} ms, ${name} ${product.theirs.toFixed(3)} ms\n`,
  )
}
const limits = mostOf(before, await measureLimits(threads)).at(-1) as Limits
const rows = measured.map(rowOf)
const machine: Row = {
  date: new Date().toISOString().slice(0, 10),
  CPU: `${cpus().length} × ${cpus()[0].model}`,
  threads: String(threads),
  device: device.name,
  peer: versions,
  commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim(),
  'reads, GB/s': limits.readGBs.toFixed(1),
  'int8, GOP/s': (wasm ? limits.wasmInt8Gops : limits.int8Gops).toFixed(0),
  'float32, GFLOP/s': (wasm ? limits.f32Gflops128 : limits.f32Gflops).toFixed(0),
  'bfloat16, GFLOP/s': limits.bf16Gflops.toFixed(0),
  rounds: values.rounds,
  'load before': load.toFixed(1),
}
console.log(`${text(rows)}\n${text([machine])}`)
if (values.record) record()
await device.close()

async function measure(work: Work): Promise<Measured> {
  const { what, bytes } = (await peer.ask({ call: 'prepare', work })) as { what: string; bytes: number }
  const ours = await prepare(device, work)
  const times: { ours: number; theirs: number }[] = []
  for (let round = -1; round < Number(values.rounds); round++) {
    const theirs = (await peer.ask({ call: 'time', ms: turnMs })) as number
    await sleep(quietMs)
    const own = await time(ours, turnMs)
    await sleep(quietMs)
    // The first round warms up.
    if (round >= 0) times.push({ ours: own, theirs })
  }
  ours.dispose()
  return {
    work,
    what,
    ours: median(times.map((time) => time.ours)),
    theirs: median(times.map((time) => time.theirs)),
    ratios: times.map((time) => time.theirs / time.ours),
    ourBytes: ours.bytes,
    theirBytes: bytes,
  }
}

function rowOf({ work, what, ours, theirs, ratios, ourBytes, theirBytes }: Measured): Row {
  return {
    work: work.name,
    'lowbit, ms': ours.toFixed(3),
    peer: what,
    'its ms': theirs.toFixed(3),
    ratio: `${median(ratios).toFixed(2)}×`,
    spread: `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`,
    'of the limit': share(work, ours, ourBytes),
    "peer's, of the limit": share(work, theirs, theirBytes),
  }
}

/** How fast it reads or multiplies, and its share of what the machine could. */
function share(work: Work, ms: number, bytes: number): string {
  const { limit } = work
  const operations = 'batch' in work ? work.batch * mobileNetOperations : 2 * work.rows * work.n * work.k
  const amount = limit === 'read' ? bytes : operations
  const [unit, most] = {
    read: ['GB/s', limits.readGBs] as const,
    int8: ['GOP/s', wasm ? limits.wasmInt8Gops : limits.int8Gops] as const,
    float32: ['GFLOP/s', wasm ? limits.f32Gflops128 : limits.f32Gflops] as const,
    bfloat16: ['GFLOP/s', limits.bf16Gflops || limits.f32Gflops] as const,
  }[limit]
  const rate = amount / ms / 1e6
  return `${rate.toFixed(limit === 'read' ? 1 : 0)} ${unit}${most ? `, ${((100 * rate) / most).toFixed(0)} %` : ''}`
}

/** Puts the rows over those recorded before of the same work. */
function record(): void {
  const recorded = readResults(results) ?? {}
  const measured = new Map(rows.map((row) => [row.work, row]))
  const order = works.filter(({ peers }) => peers.includes(name)).map((work) => work.name)
  const kept = (recorded[name] ?? []).filter(({ work }) => !measured.has(work) && order.includes(work))
  recorded[name] = [...kept, ...rows].sort((a, b) => order.indexOf(a.work) - order.indexOf(b.work))
  recorded.machine = [...(recorded.machine ?? []).filter(({ peer }) => !peer.startsWith(name + ' ')), machine]
  writeResults(results, recorded)
  execFileSync(process.execPath, [fileURLToPath(new URL('../scripts/readme.mjs', import.meta.url))], {
    stdio: 'inherit',
  })
}
