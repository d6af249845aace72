// npm run bench:quality [-- stories260K shakespeare resnet20] [--bits 4,3,2] [--only NAME] [--record] [--draw]
//
// What each algorithm of calibrated quantization gives at 4, 3 and 2 bits, one step after the other: rounding,
// the order of columns, the search of scales, rotation, training, bits by layer. All linear layers but the head
// (of images, all layers), groups of 32 with zero points, bits counted with both. Language models are calibrated
// on the training part of their text alone, images on those that are no near copies of a test image.
// --only measures the row of that name, or rows with that in their names; --record keeps each figure as soon as it is there in
// bench/results/quality.json, from which scripts/readme.mjs writes the tables of docs/calibrated.md; --draw
// makes docs/quality.svg, and the tables, of what is kept, and measures only what is named. LOWBIT_DATA and LOWBIT_MODELS name the
// folders of texts, images and models.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import type { Asked, Cell, Figure, Measured } from './quality/cells.ts'
import { withCell } from './quality/cells.ts'
import { measureResnet20 } from './quality/images.ts'
import { measureLanguage, shakespeare, stories260K } from './quality/language.ts'
import { qualityPicture } from './quality/picture.ts'
import { sharesOf, tableOf } from './quality/tables.ts'

const subjects: Record<string, (asked: Asked) => Promise<void>> = {
  stories260K: (asked) => measureLanguage(stories260K, asked),
  shakespeare: (asked) => measureLanguage(shakespeare, asked),
  resnet20: measureResnet20,
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    bits: { type: 'string', default: '4,3,2' },
    only: { type: 'string' },
    record: { type: 'boolean', default: false },
    draw: { type: 'boolean', default: false },
  },
})
const results = new URL('results/quality.json', import.meta.url)
const picture = new URL('../docs/quality.svg', import.meta.url)

const asked = positionals.length > 0 || values.draw ? positionals : Object.keys(subjects)
for (const name of asked) {
  if (!(name in subjects))
    throw new Error(`bench:quality: takes ${Object.keys(subjects).join(', ')}; received ${name}`)
  let measured: Measured | undefined
  await subjects[name]({
    ...{ bits: values.bits.split(',').map(Number), only: values.only },
    onCell(float, figure, cell) {
      measured = { figure, float, cells: withCell(measured?.cells ?? [], cell) }
      console.error(name, JSON.stringify(cell))
      if (values.record) record(name, float, figure, cell)
    },
  })
  if (measured) console.table(tableOf(measured))
}

if (values.draw) {
  writeTables(recorded())
  writeFileSync(picture, await qualityPicture(recorded()))
}

function recorded(): Record<string, Measured> {
  return existsSync(results) ? JSON.parse(readFileSync(results, 'utf8')).measured : {}
}

/** Puts a figure in the place of what was recorded before. */
function record(name: string, float: number, figure: Figure, cell: Cell): void {
  const measured = recorded()
  writeTables({ ...measured, [name]: { figure, float, cells: withCell(measured[name]?.cells ?? [], cell) } })
}

/** Writes the tables beside what they are made of. */
function writeTables(measured: Record<string, Measured>): void {
  const tables = Object.entries(measured).map(([name, of]) => [name, tableOf(of)])
  const { resnet20: _, ...languages } = measured
  const [{ model }] = cpus()
  const machine = { date: new Date().toISOString().slice(0, 10), CPU: model, Node: process.version }
  const all = { ...Object.fromEntries(tables), shares: sharesOf(languages), machine: [machine], measured }
  writeFileSync(results, `${JSON.stringify(all, null, 2)}\n`)
}
