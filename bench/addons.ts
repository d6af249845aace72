/*
 * The prebuilt addon beside the one that this machine's compiler made:
 *
 *   npm run bench:addons [-- MODEL [ROUNDS]]
 *
 * Both are loaded into one process and take turns, so that whatever else the machine does meets both. Ratio:
 * prebuilt ÷ built here.
 */
import { createRequire } from 'node:module'
import { host } from '../src/core/host.node.ts'
import { openNative } from '../src/devices/cpu/native.ts'
import { Device } from '../src/devices/device.ts'
import { bench } from '../src/evaluate/bench.ts'
import type { CausalLM } from '../src/models/causalLM.ts'
import { loadCausalLM } from '../src/models/load.ts'

const [place = 'models/stories260K', rounds = '60'] = process.argv.slice(2)
const require = createRequire(import.meta.url)
const folder = `prebuilds/${host.platform}${process.platform === 'linux' ? '-gnu' : ''}`
const files = [`../build/${folder}/lowbit.node`, '../build/lowbit.node']
const figures = ['prefillTokensPerSecond', 'decodeTokensPerSecond'] as const

const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1]

for (const threads of [1, host.parallelism()]) {
  const models: CausalLM[] = []
  for (const file of files) {
    host.loadAddon = () => require(file)
    models.push(
      await loadCausalLM(place, { device: new Device(openNative({ threads })), computeDtype: 'int8' }),
    )
  }
  const results = files.map((): Awaited<ReturnType<typeof bench>>[] => [])
  for (let round = 0; round < Number(rounds); round++) {
    for (const which of round % 2 ? [0, 1] : [1, 0])
      results[which].push(await bench(models[which], { promptTokens: 128, newTokens: 32 }))
  }
  for (const figure of figures) {
    const [prebuilt, built] = results.map((runs) => runs.map((run) => run[figure]))
    const ratio = median(prebuilt.map((value, round) => value / built[round]))
    const best = `${Math.max(...prebuilt).toFixed(0)} and ${Math.max(...built).toFixed(0)} tokens/s at best`
    console.log(`${threads} threads, ${figure}: ${ratio.toFixed(3)} (median of ${rounds} rounds); ${best}`)
  }
  for (const model of models) {
    const { device } = model
    model.dispose()
    await device.close()
  }
}
