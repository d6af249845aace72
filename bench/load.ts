// npm run bench:load
//
// Loading and quantizing on the way from file to file, of the shape of Qwen2-0.5B in bfloat16 (988 MB, random
// weights), from the page cache:
//
//   load             loadCausalLM of the float model, in MB of its file a second
//   quantize         lowbit quantize --weights int4 --exclude lm_head, start and end of the process included
//   load quantized   loadCausalLM of the result
//
// Each runs in a process of its own, three times; the best time counts, the least CPU time, and
// the largest peak of resident memory.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { shapeModel } from './shape.ts'

const { values } = parseArgs({
  options: { load: { type: 'string' }, rounds: { type: 'string', default: '3' } },
})

interface Measured {
  seconds: number
  /** Of all threads, start and end of the process included. */
  cpuSeconds: number
  /** Kilobytes. */
  maxRSS: number
}

const asInt4 = ['--weights', 'int4', '--exclude', 'lm_head']
const self = fileURLToPath(import.meta.url)
const cli = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url))

/** Runs this file, or the command, with an exit hook that prints what the process took. */
function measure(args: string[]): Measured {
  const started = performance.now()
  const usage = `const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage()`
  const print = `console.error('usage', maxRSS, userCPUTime + systemCPUTime)`
  const hook = `process.on('exit', () => { ${usage}; ${print} })`
  const hooked = [
    '--conditions=lowbit-source',
    '--import',
    `data:text/javascript,${encodeURIComponent(hook)}`,
  ]
  const { stdout, stderr, status } = spawnSync(process.execPath, [...hooked, ...args], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${args.join(' ')}: ${stderr}`)
  const inside = /seconds ([\d.]+)/.exec(stdout)?.[1]
  const seconds = inside ? Number(inside) : (performance.now() - started) / 1000
  const [, maxRSS, cpu] = /usage (\d+) (\d+)/.exec(stderr) ?? []
  return { seconds, maxRSS: Number(maxRSS), cpuSeconds: Number(cpu) / 1e6 }
}

function best(name: string, bytes: number, run: () => Measured): void {
  const runs = Array.from({ length: Number(values.rounds) }, run)
  const seconds = Math.min(...runs.map((each) => each.seconds))
  const peak = Math.max(...runs.map((each) => each.maxRSS)) / 1000
  const rate = (bytes / 1e6 / seconds).toFixed(0)
  const cpu = Math.min(...runs.map((each) => each.cpuSeconds)).toFixed(2)
  const figures = [`${seconds.toFixed(2)} s`, `${rate} MB/s`, `${cpu} s of CPU`, `peak ${peak.toFixed(0)} MB`]
  console.log(name.padEnd(16) + figures.map((figure) => figure.padStart(18)).join(''))
}

if (values.load !== undefined) {
  const { openDevice } = await import('../src/devices/open.ts')
  const { loadCausalLM } = await import('../src/models/load.ts')
  const device = openDevice('cpu')
  const started = performance.now()
  await loadCausalLM(values.load, { device })
  console.log(`seconds ${(performance.now() - started) / 1000}`)
  await device.close()
} else {
  const folder = await shapeModel('float')
  const root = mkdtempSync(join(tmpdir(), 'lowbit-load-'))
  try {
    const out = join(root, 'int4')
    const bytes = (place: string) => statSync(join(place, 'model.safetensors')).size
    best('load', bytes(folder), () => measure([self, '--load', folder]))
    best('quantize', bytes(folder), () => {
      rmSync(out, { recursive: true, force: true })
      return measure([cli, 'quantize', folder, ...asInt4, '--out', out, '--json'])
    })
    best('load quantized', bytes(out), () => measure([self, '--load', out]))
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}
