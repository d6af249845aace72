// npm run bench:steady [-- --gguf FILE] [--device native|wasm] [--steps 10000] [--threads 2] [--compute-dtype
// float32|int8]
//
// Memory stays flat over many steps of generation: exits with 1 if it grew by more than 16 MB after the first
// tenth of them.
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type DeviceName, openDevice } from '../src/devices/open.ts'
import { generateTokens } from '../src/models/generate.ts'
import { loadCausalLM } from '../src/models/load.ts'

const { values } = parseArgs({
  options: {
    gguf: { type: 'string' },
    device: { type: 'string', default: 'cpu' },
    steps: { type: 'string', default: '10000' },
    threads: { type: 'string', default: '2' },
    'compute-dtype': { type: 'string', default: 'float32' },
  },
})
const fetchModel = fileURLToPath(new URL('../scripts/fetch-smollm2.mjs', import.meta.url))
const place =
  values.gguf ??
  execFileSync(process.execPath, [fetchModel], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  }).trim()
const steps = Number(values.steps)
const growthLimitBytes = 16e6

const device = openDevice(values.device as DeviceName, { threads: Number(values.threads) })
const model = await loadCausalLM(place, {
  device,
  computeDtype: values['compute-dtype'] as 'float32' | 'int8',
})
const mark = Math.max(1, Math.floor(steps / 10))
const prompt = [1, 2, 3, 4]
let warmBytes = 0
let lastBytes = 0
let done = 0
const started = performance.now()
while (done < steps) {
  // A cache of 128 tokens each time: what a leak of one generation would hold on to.
  const maxNewTokens = Math.min(124, steps - done)
  for await (const _ of generateTokens(model, prompt, { maxNewTokens, stopAtEos: false })) {
    if (++done % mark > 0) continue
    lastBytes = process.memoryUsage().rss
    warmBytes ||= lastBytes
    const rate = (1000 * done) / (performance.now() - started)
    console.log(
      `${done} steps: ${(lastBytes / 1e6).toFixed(1)} MB resident, ${device.allocatedBytes} bytes in tensors, ${rate.toFixed(1)} tokens/s`,
    )
  }
}
model.dispose()
const grownBytes = lastBytes - warmBytes
const flat = grownBytes < growthLimitBytes && device.allocatedBytes === 0
console.log(
  `${device.name}: ${(grownBytes / 1e6).toFixed(1)} MB more after ${done} steps than after ${mark}; ${flat ? 'flat' : 'not flat'}`,
)
await device.close()
if (!flat) process.exitCode = 1
