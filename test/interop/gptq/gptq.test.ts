import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { openDevice } from '../../../src/devices/open.ts'
import { loadCausalLM } from '../../../src/models/load.ts'
import { golden, readGolden } from '../../golden.ts'
import { findPython, runJobs } from '../python.ts'
import { checkWeights } from './weights.ts'

/* GPTQ folders are read by GPTQModel, live: the weights that it makes of them are ours, bit for bit. */

const items = ['gptq-w4-g32-sym', 'gptq-w4-g32-asym-desc_act', 'gptq_v2-w4-g32-asym', 'gptq-w8-g32-sym']
const folder = mkdtempSync(join(tmpdir(), 'lowbit-gptq-'))
const place = (item: string) => join(folder, item)

before(async () => {
  const tokenizer = join(golden, 'stories260K/quanto-qint4')
  for (const item of items) {
    cpSync(tokenizer, place(item), {
      recursive: true,
      filter: (from) => !/(map|model)\.|config\.json$/.test(from),
    })
    cpSync(join(golden, 'stories260K', item), place(item), { recursive: true })
  }
  const jobs = items.map((item) => ({ task: 'gptq', folder: place(item), out: `${place(item)}.safetensors` }))
  await runJobs(await findPython('gptq'), jobs, folder, 'gptq/peer.py')
})

after(async () => {
  rmSync(folder, { recursive: true, force: true })
  await openDevice().close()
})

for (const item of items) {
  test(`${item}: GPTQModel makes our weights of the folder`, async () => {
    using model = await loadCausalLM(place(item))
    await checkWeights(model, await readGolden(`${place(item)}.safetensors`))
  })
}
