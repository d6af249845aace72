// npm run fuzz [-- --record] [FILE …]: the mutations of test/fuzz/model.test.ts, 20,000 of each model
// (LOWBIT_FUZZ_CASES; LOWBIT_FUZZ_MODELS=fp8,awq takes these models alone) under a heap of 512 MB. Each case is
// written down before it runs, so that a process that dies leaves the case that it died of. With --record the
// totals of each model go to bench/results/fuzz.json.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))
const caseFile = 'build/fuzz-case.json'
const { values, positionals } = parseArgs({
  options: { record: { type: 'boolean' } },
  allowPositionals: true,
})
const files = positionals.length > 0 ? positionals : ['test/fuzz/model.test.ts']
const env = {
  ...{ LOWBIT_FUZZ_CASES: '20000', LOWBIT_FUZZ_CASE: caseFile },
  ...(values.record && { LOWBIT_FUZZ_RECORD: 'bench/results/fuzz.json' }),
  ...process.env,
}
// Without a process of its own for every file: the limit is to hold for the cases.
const flags = ['--max-old-space-size=512', '--conditions=lowbit-source', '--test-isolation=none', '--test']
const { status, signal } = spawnSync(process.execPath, [...flags, ...files], { stdio: 'inherit', env })
if (signal || status === 134)
  console.error(`lowbit: the process died; the case it ran is in ${env.LOWBIT_FUZZ_CASE}`)
process.exitCode = status ?? 1
