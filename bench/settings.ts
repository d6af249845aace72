// node --conditions=lowbit-source bench/settings.ts [stories260K] [shakespeare] [smollm2] [resnet20] [mnist]
// [--quality] [--speed] [--only NAME] [--record]
//
// What each choice of quantize costs on real models: size, quality, speed. --quality or --speed alone
// measures one half, --only the language models' settings with that in their name; --record merges what was
// measured into bench/results/settings.json, from which scripts/readme.mjs writes the tables of the
// documentation. LOWBIT_CACHE names the folder of SmolLM2's file (scripts/fetch-smollm2.mjs), LOWBIT_DATA and
// LOWBIT_MODELS those of the others.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { mnistRows, resnet20Rows } from './settings/images.ts'
import { languageRows, shakespeare, smollm2, stories260K } from './settings/language.ts'
import type { Measures, Row } from './settings/row.ts'

const subjects: Record<string, (measures: Measures) => Promise<Row[]>> = {
  stories260K: (measures) => languageRows(stories260K, measures),
  shakespeare: (measures) => languageRows(shakespeare, measures),
  smollm2: (measures) => languageRows(smollm2, measures),
  resnet20: resnet20Rows,
  mnist: mnistRows,
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quality: { type: 'boolean', default: false },
    speed: { type: 'boolean', default: false },
    only: { type: 'string' },
    record: { type: 'boolean', default: false },
  },
})
const all = values.quality === values.speed
const measures = { quality: all || values.quality, speed: all || values.speed, only: values.only }
const results = new URL('results/settings.json', import.meta.url)

for (const name of positionals.length > 0 ? positionals : Object.keys(subjects)) {
  if (!(name in subjects))
    throw new Error(`bench:settings: takes ${Object.keys(subjects).join(', ')}; received ${name}`)
  const rows = await subjects[name](measures)
  console.log(name)
  console.table(rows)
  if (values.record) record(name, rows)
}

/** Puts what was measured over what was recorded before; rows are known by their first column. */
function record(name: string, rows: Row[]): void {
  const recorded: Record<string, Row[]> = existsSync(results) ? JSON.parse(readFileSync(results, 'utf8')) : {}
  const before = new Map((recorded[name] ?? []).map((row) => [Object.values(row)[0], row]))
  recorded[name] = rows.map((row) => {
    const known = before.get(Object.values(row)[0]) ?? {}
    const measured = Object.fromEntries(
      Object.entries(row).filter(([column, value]) => value !== '' || !(column in known)),
    )
    return { ...row, ...known, ...measured }
  })
  const [{ model }] = cpus()
  recorded.machine = [
    {
      date: new Date().toISOString().slice(0, 10),
      CPU: `${cpus().length} × ${model}`,
      Node: process.version,
    },
  ]
  writeFileSync(results, `${JSON.stringify(recorded, null, 2)}\n`)
}
