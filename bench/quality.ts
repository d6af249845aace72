// npm run bench:quality [-- stories260K shakespeare resnet20] [--bits 4,3,2] [--only NAME] [--record]
//
// What each algorithm of calibrated quantization gives at 4, 3 and 2 bits, one step after the other: rounding,
// the order of columns, the search of scales, rotation, training. All linear layers but the head (of images, all
// convolutions, too), groups of 32 with zero points, bits counted with both. Language models are calibrated on
// the training part of their text alone, images on those that are no near copies of a test image.
// --only measures the rows with that in their name; --record merges what was measured into
// bench/results/quality.json, from which scripts/readme.mjs writes the table of docs/calibrated.md. LOWBIT_DATA
// and LOWBIT_MODELS name the folders of texts, images and models.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { resnet20Rows } from './quality/images.ts'
import { languageRows, shakespeare, stories260K } from './quality/language.ts'
import type { Asked, Row } from './quality/recipes.ts'

const subjects: Record<string, (asked: Asked) => Promise<Row[]>> = {
  stories260K: (asked) => languageRows(stories260K, asked),
  shakespeare: (asked) => languageRows(shakespeare, asked),
  resnet20: resnet20Rows,
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    bits: { type: 'string', default: '4,3,2' },
    only: { type: 'string' },
    record: { type: 'boolean', default: false },
  },
})
const results = new URL('results/quality.json', import.meta.url)

for (const name of positionals.length > 0 ? positionals : Object.keys(subjects)) {
  if (!(name in subjects))
    throw new Error(`bench:quality: takes ${Object.keys(subjects).join(', ')}; received ${name}`)
  const rows = await subjects[name]({ bits: values.bits.split(',').map(Number), only: values.only })
  console.log(name)
  console.table(rows)
  if (values.record) record(name, rows)
}

/** Puts what was measured over what was recorded before; rows are known by their first column. */
function record(name: string, rows: Row[]): void {
  const recorded: Record<string, Row[]> = existsSync(results) ? JSON.parse(readFileSync(results, 'utf8')) : {}
  const known = new Map((recorded[name] ?? []).map((row) => [Object.values(row)[0], row]))
  for (const row of rows) {
    const measured = Object.entries(row).filter(([, value]) => value !== '')
    const [first] = Object.values(row)
    known.set(first, { ...row, ...known.get(first), ...Object.fromEntries(measured) })
  }
  recorded[name] = [...known.values()]
  const [{ model }] = cpus()
  recorded.machine = [{ date: new Date().toISOString().slice(0, 10), CPU: model, Node: process.version }]
  writeFileSync(results, `${JSON.stringify(recorded, null, 2)}\n`)
}
