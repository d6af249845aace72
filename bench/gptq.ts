/**
 * How long `quantizeCalibrated` takes to quantize a model by GPTQ, and what memory it needs at most, beside
 * GPTQModel, which does it first, in a process of its own:
 *
 *     node --conditions=lowbit-source bench/gptq.ts FOLDER [--samples 128] [--length 512] [--python PYTHON]
 *
 * FOLDER is a model of floats in Hugging Face layout, PYTHON that of an environment with gptqmodel. Both
 * have the same tokens, of a seeded generator, 4 bits in groups of 128, no act-order, two threads.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Random } from '../src/core/random.ts'
import { openDevice } from '../src/devices/open.ts'
import { loadCausalLM } from '../src/models/load.ts'
import { quantizeCalibrated } from '../src/models/quantizeCalibrated.ts'
import { gptq } from '../src/quantize/algorithms/gptq.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    samples: { type: 'string', default: '128' },
    length: { type: 'string', default: '512' },
    python: { type: 'string' },
  },
})
const [folder] = positionals
const [samples, length] = [Number(values.samples), Number(values.length)]

if (values.python) {
  const peer = join(import.meta.dirname, 'peers/gptq.py')
  const args = [peer, folder, values.samples, values.length]
  const { stdout } = spawnSync(values.python, args, { stdio: ['ignore', 'pipe', 'ignore'], encoding: 'utf8' })
  console.log(`GPTQModel  ${stdout.trim().split('\n').at(-1)}`)
}

const device = openDevice('cpu', { threads: 2 })
const model = await loadCausalLM(folder, { device, dtype: 'float16' })
const before = process.resourceUsage().maxRSS
const random = new Random(1)
const data = Array.from({ length: samples }, () =>
  Array.from({ length }, () => Math.floor(random.uniform() * 40000)),
)
const algorithm = gptq({ bits: 4, groupSize: 128, symmetric: true, actOrder: false })
const start = performance.now()
await quantizeCalibrated(model, { algorithm, data, exclude: 'lm_head' })
const seconds = ((performance.now() - start) / 1000).toFixed(1)
const mebibytes = (kibibytes: number) => `${Math.round(kibibytes / 1024)} MiB`
console.log(
  `lowbit     ${seconds} s, peak ${mebibytes(process.resourceUsage().maxRSS)}, loaded ${mebibytes(before)}`,
)
await device.close()
