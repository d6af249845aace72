// Records what each conversion costs: node --conditions=lowbit-source scripts/conversions.ts
//
// Every target beside a folder of every scheme, all of a small model: `exact`, or the largest relative error of
// a weight. Then run node scripts/readme.mjs, which puts the table into docs/formats.md.
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { openDevice } from '../src/devices/open.ts'
import { convertedFiles, costOf, shownTargets, sources } from '../test/models/conversions.ts'

const device = openDevice('cpu')
const rows: Record<string, string>[] = []
for (const [name, source] of Object.entries(sources)) {
  const row: Record<string, string> = { 'from \\ to': name }
  for (const to of shownTargets) row[to] = costOf((await convertedFiles(source, to, device)).tensors)
  rows.push(row)
}
await device.close()
const path = fileURLToPath(new URL('../bench/results/conversions.json', import.meta.url))
writeFileSync(path, `${JSON.stringify(rows, null, 2)}\n`)
