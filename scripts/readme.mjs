// Writes the tables of README.md from the runs recorded in bench/results/: what stands between
// `<!-- table: NAME -->` and `<!-- end -->` is made from NAME.json. With --check it only says whether they are current.
import { readFileSync, writeFileSync } from 'node:fs'

const readme = new URL('../README.md', import.meta.url)
const before = readFileSync(readme, 'utf8')
const after = before.replace(/(<!-- table: ([\w-]+) -->\n)[\s\S]*?(<!-- end -->)/g, (_, start, name, end) => `${start}${table(name)}${end}`)

if (!process.argv.includes('--check')) writeFileSync(readme, after)
else if (before !== after) {
  console.error('README.md: a table differs from its recorded run; run "node scripts/readme.mjs"')
  process.exit(1)
}

function table(name) {
  const rows = JSON.parse(readFileSync(new URL(`../bench/results/${name}.json`, import.meta.url), 'utf8'))
  const columns = Object.keys(rows[0])
  const numeric = (column) => rows.every((row) => /^[\d.,×%–\s-]*\d[\d.,×%–\s-]*$/.test(String(row[column])))
  const line = (cells) => `| ${cells.join(' | ')} |\n`
  return (
    line(columns) +
    line(columns.map((column) => (numeric(column) ? '--:' : '---'))) +
    rows.map((row) => line(columns.map((column) => String(row[column]).replace(/\n/g, ' ')))).join('')
  )
}
