// npm run bench:training [-- --models mlp,resnet18] [--rounds 10] [--threads 2] [--device native|wasm]
//
// Milliseconds of a training step beside PyTorch's (LOWBIT_PYTHON, or an environment of our own: test/interop/python.ts). The two take
// turns, so that what else the machine does falls on both; least and median of all steps, and the CPU time of one, count.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type DeviceName, openDevice } from '../src/devices/open.ts'
import { findPython } from '../test/interop/python.ts'
import { models, Trainer } from './training/models.ts'

/** The milliseconds of each step, and the CPU's for all of them. */
interface Timing {
  wall: number[]
  cpu: number
}

const { values } = parseArgs({
  options: {
    models: { type: 'string', default: Object.keys(models).join() },
    rounds: { type: 'string', default: '10' },
    threads: { type: 'string', default: '2' },
    device: { type: 'string', default: 'native' },
  },
})

const device = openDevice(values.device as DeviceName, { threads: Number(values.threads) })
const peer = spawn(await findPython(), [fileURLToPath(new URL('training/peer.py', import.meta.url)), values.threads], {
  stdio: ['pipe', 'pipe', 'inherit'],
})
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

function summary(timings: readonly Timing[]) {
  const steps = timings.flatMap(({ wall }) => wall).sort((a, b) => a - b)
  return {
    least: steps[0],
    median: steps[Math.floor(steps.length / 2)],
    cpu: Math.min(...timings.map(({ cpu, wall }) => cpu / wall.length)),
  }
}

const cell = (value: number) => value.toFixed(2).padStart(10)
console.log(`${device.name}, ${values.threads} threads; ms a step: least, median, CPU${' '.repeat(16)}PyTorch's${' '.repeat(21)}ratios`)
for (const name of values.models.split(',')) {
  const { make, steps } = models[name]
  const trainer = new Trainer(make(), device)
  const timings: { ours: Timing[]; theirs: Timing[] } = { ours: [], theirs: [] }
  let bytes = 0
  for (let round = 0; round <= Number(values.rounds); round++) {
    const own = await ours(trainer, steps)
    const other = await theirs(name, steps)
    // The first round warms up.
    if (round === 0) {
      bytes = device.allocatedBytes
      continue
    }
    timings.ours.push(own)
    timings.theirs.push(other)
  }
  const [own, other] = [summary(timings.ours), summary(timings.theirs)]
  const columns = [own.least, own.median, own.cpu, other.least, other.median, other.cpu]
  const ratios = [own.least / other.least, own.median / other.median, own.cpu / other.cpu]
  console.log(`${name.padEnd(12)}${columns.map(cell).join('')}   ${ratios.map(cell).join('')}`)
  if (device.allocatedBytes !== bytes) console.log(`${name}: ${device.allocatedBytes - bytes} bytes more than after the first round`)
  trainer.dispose()
}
peer.stdin.end()
await device.close()
