import { readFileSync } from 'node:fs'
import { Random } from '../../src/core/random.ts'
import {
  awq,
  gptq,
  hqq,
  loadCausalLM,
  openDevice,
  QTensor,
  qint4,
  quantizeCalibrated,
  Tensor,
} from '../../src/index.ts'

/*
 * lowbit's part of bench/algorithms.ts, in a process of its own: `child.ts gptq|awq FOLDER IDS [MAX_BYTES]` or
 * `child.ts hqq SIDE RUNS`. It prints as bench/peers/usage.py does.
 */

const [name, ...rest] = process.argv.slice(2)
const device = openDevice('cpu', { threads: 2 })
const seconds: number[] = []
const cpu: number[] = []

async function measured(call: () => Promise<unknown>): Promise<void> {
  const [start, before] = [performance.now(), process.cpuUsage()]
  await call()
  seconds.push((performance.now() - start) / 1000)
  const { user, system } = process.cpuUsage(before)
  cpu.push((user + system) / 1e6)
}

if (name === 'hqq') {
  const [side, runs] = rest.map(Number)
  const random = new Random(1)
  const values = Float32Array.from({ length: side * side }, () => 0.02 * random.normal())
  const weight = Tensor.fromArray(device, values, [side, side])
  for (let i = 0; i < runs; i++)
    await measured(async () => {
      const quantized = QTensor.quantize(weight, qint4, 64, hqq())
      await device.sync()
      quantized.dispose()
    })
} else {
  const [folder, ids, maxBytes] = rest
  const model = await loadCausalLM(folder, { device, dtype: 'float16' })
  const data: number[][] = JSON.parse(readFileSync(ids, 'utf8'))
  // As in llm-compressor, weights are not clipped.
  const algorithm =
    name === 'gptq'
      ? gptq({ bits: 4, groupSize: 128, symmetric: true, actOrder: false })
      : awq({ groupSize: 64, clip: false })
  const scratch = maxBytes ? { maxBytes: Number(maxBytes) } : undefined
  await measured(() => quantizeCalibrated(model, { algorithm, data, exclude: 'lm_head', scratch }))
}
const peak = Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024
console.log(JSON.stringify({ seconds, cpu, peak }))
await device.close()
