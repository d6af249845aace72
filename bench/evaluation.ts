// npm run bench:evaluation [-- llama wikitext lambada caches] [--resume] [--record]
//     [--windows N] [--cache-windows N] [--peer-windows N] [--passages N] [--threads N]
//
// What SmolLM2-135M gets in evaluations, by lowbit and by the libraries whose definitions it follows, on the
// same files: llama-perplexity, built from the source in PyPI's llama-cpp-python (cmake), and transformers
// (LOWBIT_PYTHON, or an environment of our own: test/interop/python.ts). Hours on two cores: what the others
// computed is kept in LOWBIT_CACHE/evaluation, line by line, and not computed again; what lowbit has computed
// counts with --resume. LOWBIT_DATA has text/wikitext2-test.tokens.txt and text/lambada_test.jsonl. --record puts
// the tables into bench/results/evaluation.json, from which scripts/readme.mjs writes those of docs/evaluation.md.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { openDevice } from '../src/index.ts'
import { cacheRows } from './evaluation/caches.ts'
import { divergenceRows } from './evaluation/divergence.ts'
import { lambadaRows } from './evaluation/lambada.ts'
import type { Row, Run } from './evaluation/run.ts'
import { wikitextRows } from './evaluation/wikitext.ts'

const parts: Record<string, (run: Run) => Promise<Row[]>> = {
  llama: divergenceRows,
  wikitext: wikitextRows,
  lambada: lambadaRows,
  caches: cacheRows,
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    resume: { type: 'boolean', default: false },
    record: { type: 'boolean', default: false },
    windows: { type: 'string', default: '1000' },
    'cache-windows': { type: 'string', default: '8' },
    'peer-windows': { type: 'string', default: '4' },
    passages: { type: 'string', default: '500' },
    threads: { type: 'string', default: '2' },
  },
})
const run: Run = {
  device: openDevice('cpu', { threads: Number(values.threads) }),
  resume: values.resume,
  windows: Number(values.windows),
  cacheWindows: Number(values['cache-windows']),
  peerWindows: Number(values['peer-windows']),
  passages: Number(values.passages),
}
const results = new URL('results/evaluation.json', import.meta.url)

for (const name of positionals.length > 0 ? positionals : Object.keys(parts)) {
  if (!(name in parts))
    throw new Error(`bench:evaluation: takes ${Object.keys(parts).join(', ')}; received ${name}`)
  const rows = await parts[name](run)
  console.log(name)
  console.table(rows)
  if (values.record) record(name, rows)
}
await run.device.close()

function record(name: string, rows: Row[]): void {
  const recorded: Record<string, Row[]> = existsSync(results) ? JSON.parse(readFileSync(results, 'utf8')) : {}
  recorded[name] = rows
  const date = new Date().toISOString().slice(0, 10)
  recorded.machine = [{ date, CPU: `${cpus().length} × ${cpus()[0].model}`, Node: process.version }]
  writeFileSync(results, `${JSON.stringify(recorded, null, 2)}\n`)
}
