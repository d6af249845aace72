// npm run bench:training [-- --models mlp,resnet18,…] [--rounds 10] [--threads 2] [--device native|wasm]
// [--json] [--record]
//
// Milliseconds of a training step beside PyTorch's, and optimum-quanto's where the model is quantized
// (LOWBIT_PYTHON, or an environment of our own: test/interop/python.ts). The two take turns, so that what
// else the machine does falls on both; the mean of the fastest tenth of all steps counts, beside it the CPU
// time of a step. --record writes bench/results/training.json (training-avx2.json on a machine of that
// instruction set) and the tables of README.md.
import { execFileSync, spawn } from 'node:child_process'
import { cpus } from 'node:os'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type DeviceName, openDevice } from '../src/devices/open.ts'
import { findPython } from '../test/interop/python.ts'
import { resultsSuffix, writeResults } from './peers/results.ts'
import { Trainer, trainings } from './training/models.ts'

/** The milliseconds of each step, and the CPU's for all of them. */
interface Timing {
  wall: number[]
  cpu: number
}

const { values } = parseArgs({
  options: {
    models: { type: 'string', default: Object.keys(trainings).join() },
    rounds: { type: 'string', default: '10' },
    threads: { type: 'string', default: '2' },
    device: { type: 'string', default: 'native' },
    json: { type: 'boolean', default: false },
    record: { type: 'boolean', default: false },
  },
})
const names = values.models.split(',')
for (const name of names) {
  if (!(name in trainings))
    throw new Error(`bench:training: --models must be of ${Object.keys(trainings).join()}; received ${name}`)
}

const device = openDevice(values.device as DeviceName, { threads: Number(values.threads) })
const peer = spawn(
  await findPython(),
  [fileURLToPath(new URL('training/peer.py', import.meta.url)), values.threads],
  {
    stdio: ['pipe', 'pipe', 'inherit'],
  },
)
const replies = createInterface({ input: peer.stdout })[Symbol.asyncIterator]()

async function theirs(name: string, steps: number): Promise<Timing> {
  peer.stdin.write(`${name} ${steps}\n`)
  const { value, done } = await replies.next()
  if (done) throw new Error('bench:training: PyTorch ended before it answered')
  return JSON.parse(value) as Timing
}

/** Each step waits for the device, as each of PyTorch's is done when it returns. */
async function ours(trainer: Trainer, steps: number): Promise<Timing> {
  const wall: number[] = []
  const before = process.cpuUsage()
  for (let step = 0; step < steps; step++) {
    const started = performance.now()
    trainer.step().dispose()
    await device.sync()
    wall.push(performance.now() - started)
  }
  const { user, system } = process.cpuUsage(before)
  return { wall, cpu: (user + system) / 1000 }
}

/**
 * The mean of the fastest tenth of all steps, their median, and the CPU time of a step in the round that took
 * least.
 */
function summary(timings: readonly Timing[]) {
  const steps = timings.flatMap(({ wall }) => wall).sort((a, b) => a - b)
  const tenth = steps.slice(0, Math.ceil(steps.length / 10))
  return {
    fast: tenth.reduce((sum, ms) => sum + ms, 0) / tenth.length,
    median: steps[Math.floor(steps.length / 2)],
    cpu: Math.min(...timings.map(({ cpu, wall }) => cpu / wall.length)),
  }
}

async function measure(name: string): Promise<Record<string, string>> {
  const training = trainings[name]
  const trainer = await Trainer.create(training, device)
  const timings: { ours: Timing[]; theirs: Timing[] } = { ours: [], theirs: [] }
  let bytes = 0
  for (let round = 0; round <= Number(values.rounds); round++) {
    const own = await ours(trainer, training.steps)
    const other = await theirs(name, training.steps)
    // The first round warms up.
    if (round === 0) {
      bytes = device.allocatedBytes
      continue
    }
    timings.ours.push(own)
    timings.theirs.push(other)
  }
  const grown = device.allocatedBytes - bytes
  trainer.dispose()
  const [own, other] = [summary(timings.ours), summary(timings.theirs)]
  const [model, weights = 'float', activations = weights] = name.split('-')
  return {
    model,
    weights,
    activations: activations === 'none' ? 'float' : activations,
    peer: training.types ? 'optimum-quanto' : 'PyTorch',
    'lowbit, ms': own.fast.toFixed(2),
    'peer, ms': other.fast.toFixed(2),
    ratio: `${(own.fast / other.fast).toFixed(2)}×`,
    'ratio of medians': `${(own.median / other.median).toFixed(2)}×`,
    'CPU, ms': own.cpu.toFixed(2),
    "peer's CPU, ms": other.cpu.toFixed(2),
    'bytes more at the end': String(grown),
  }
}

const rows: Record<string, string>[] = []
for (const name of names) rows.push(await measure(name))
peer.stdin.end()
if (values.json) console.log(JSON.stringify({ device: device.name, threads: device.threads, rows }))
else {
  console.log(`${device.name}, ${device.threads} threads; a step, the mean of the fastest tenth`)
  console.table(rows)
}
if (values.record) {
  const machine = [
    {
      date: new Date().toISOString().slice(0, 10),
      CPU: cpus()[0].model,
      device: device.name,
      threads: String(device.threads),
    },
  ]
  const suffix = await resultsSuffix()
  for (const [name, table] of Object.entries({ training: rows, 'training-machine': machine })) {
    writeResults(name + suffix, table)
  }
  execFileSync(process.execPath, [fileURLToPath(new URL('../scripts/readme.mjs', import.meta.url))], {
    stdio: 'inherit',
  })
}
await device.close()
