import { openDevice } from '../src/devices/open.ts'
import { generateBatch } from '../src/models/batch/generateBatch.ts'
import { loadCausalLM } from '../src/models/load.ts'

/*
 * Tokens per second of prompts that are continued together, beside those of one alone, in turns:
 *
 *     node --conditions=lowbit-source bench/batch.ts MODEL [PROMPTS]
 */

const [path, count = '8'] = process.argv.slice(2)
const device = openDevice('cpu')
const model = await loadCausalLM(path, { device })
const prompts = Array.from(
  { length: Number(count) },
  (_, i) => `Story number ${i}. ${'Once upon a time '.repeat(1 + i)}`,
)

/** New tokens a second, from the first on. */
async function rate(some: readonly string[]): Promise<number> {
  const times: number[] = []
  await generateBatch(model, some, {
    maxNewTokens: 48,
    stopAtEos: false,
    // All have begun when the last of them has its first token.
    onToken: () => void times.push(performance.now()),
  })
  const from = Math.floor(times.length / 4)
  return (1000 * (times.length - 1 - from)) / (times[times.length - 1] - times[from])
}

await rate(prompts)
const ratios: number[] = []
for (let run = 0; run < 5; run++) {
  const [one, all] = [await rate(prompts.slice(0, 1)), await rate(prompts)]
  ratios.push(all / one)
  console.log(
    `1 prompt ${one.toFixed(1)}/s, ${count} prompts ${all.toFixed(1)}/s: ${(all / one).toFixed(2)} ×`,
  )
}
console.log(`median ${ratios.sort((a, b) => a - b)[2].toFixed(2)} ×`)
await device.close()
