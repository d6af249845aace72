// npm run bench:quantize [-- --group 128] [--rounds 3] [--threads 2]
//
// Quantizing in memory beside torchao: the linear layers of the shape of Qwen2-0.5B, bfloat16, become int4
// with a scale a group of columns, laid out for products. Each in processes of its own, in turns; the least
// of all runs counts, of the clock and of the processor's time. torchao is that of test/interop, installed
// when it is first needed.
import { execFileSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { findPython } from '../test/interop/python.ts'
import { shapeModel } from './shape.ts'

const { values } = parseArgs({
  options: {
    group: { type: 'string', default: '128' },
    rounds: { type: 'string', default: '3' },
    threads: { type: 'string', default: '2' },
    model: { type: 'string' },
  },
})

interface Times {
  seconds: number
  cpu: number
}

if (values.model !== undefined) console.log(JSON.stringify(await ours(values.model)))
else {
  const [model, python] = [await shapeModel('float'), await findPython('torchao')]
  const peer = new URL('peers/quantize_peer.py', import.meta.url).pathname
  const self = ['--conditions=lowbit-source', import.meta.filename, '--model', model]
  const rows: Record<string, Times[]> = { lowbit: [], torchao: [] }
  for (let round = 0; round < Number(values.rounds); round++) {
    rows.lowbit.push(run(process.execPath, [...self, '--threads', values.threads, '--group', values.group]))
    rows.torchao.push(run(python, [peer, values.threads, '3', values.group]))
  }
  const least = (name: string, what: keyof Times) => Math.min(...rows[name].map((times) => times[what]))
  for (const name of Object.keys(rows))
    console.log(
      `${name.padEnd(10)}${least(name, 'seconds').toFixed(3)} s${least(name, 'cpu').toFixed(2).padStart(8)} s of CPU`,
    )
  console.log(`ratio     ${(least('lowbit', 'seconds') / least('torchao', 'seconds')).toFixed(2)}`)
}

function run(command: string, args: string[]): Times {
  const output = execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  return JSON.parse(output.trim().split('\n').at(-1) ?? '') as Times
}

async function ours(path: string): Promise<Times> {
  const { freeze, loadCausalLM, openDevice, quantize } = await import('../src/index.ts')
  const device = openDevice('cpu', { threads: Number(values.threads) })
  const all: Times[] = []
  for (let round = 0; round < 3; round++) {
    const model = await loadCausalLM(path, { device })
    const [used, clock] = [process.cpuUsage(), performance.now()]
    quantize(model, { weights: 'int4', groupSize: Number(values.group), exclude: 'lm_head' })
    freeze(model)
    await device.sync()
    const { user, system } = process.cpuUsage(used)
    all.push({ seconds: (performance.now() - clock) / 1000, cpu: (user + system) / 1e6 })
    model.dispose()
    await device.sync()
  }
  await device.close()
  const least = (what: keyof Times) => Math.min(...all.map((times) => times[what]))
  return { seconds: least('seconds'), cpu: least('cpu') }
}
