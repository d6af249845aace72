// Writes what is made for README.md and the pages in docs/, between a marker and `<!-- end -->`:
//
//     <!-- table: NAME -->        the run recorded in bench/results/NAME.json
//     <!-- table: NAME/PART -->   a part of it
//     <!-- commands -->           what each command of the command line prints as its help
//     <!-- exports -->            what the package exports, each with the first sentence of its doc comment
//
// With --check it only says whether they are current.
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { listExports } from './exports.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const pages = [
  'README.md',
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
]
const check = process.argv.includes('--check')

for (const page of pages) {
  const path = join(root, page)
  const before = readFileSync(path, 'utf8')
  const after = before.replace(
    /(<!-- (table: ([\w/-]+)|commands|exports) -->\n)[\s\S]*?(<!-- end -->)/g,
    (_, start, kind, name, end) => start + made(kind, name) + end,
  )
  if (!check) writeFileSync(path, after)
  else if (before !== after) {
    console.error(`${page}: what is made for it has changed; run "node scripts/readme.mjs"`)
    process.exitCode = 1
  }
}

function made(kind, name) {
  return kind === 'commands' ? commands() : kind === 'exports' ? exportTables() : table(name)
}

function table(name) {
  const [file, part] = name.split('/')
  const recorded = JSON.parse(readFileSync(join(root, `bench/results/${file}.json`), 'utf8'))
  const rows = part ? recorded[part] : recorded
  const columns = Object.keys(rows[0]).filter((column) => rows.some((row) => row[column] !== ''))
  const numeric = (column) =>
    rows.every((row) => /^([\d.,×%–\s-]*\d[\d.,×%–\s-]*)?$/.test(String(row[column])))
  const line = (cells) => `| ${cells.join(' | ')} |\n`
  return (
    line(columns) +
    line(columns.map((column) => (numeric(column) ? '--:' : '---'))) +
    rows.map((row) => line(columns.map((column) => String(row[column]).replace(/\n/g, ' ')))).join('')
  )
}

/** Each command with its own options, then those that all of them take. */
function commands() {
  const help = (...words) =>
    execFileSync(process.execPath, ['--conditions=lowbit-source', join(root, 'src/cli/main.ts'), ...words], {
      encoding: 'utf8',
    })
  const names = [...help('--help').matchAll(/^ {2}(\w+) .*<model>/gm)].map(([, name]) => name)
  const parts = names.map((name) => help(name, '--help').split('Options of every command:'))
  const section = (title, text) => `\n## ${title}\n\n\`\`\`text\n${text.trimEnd()}\n\`\`\`\n`
  return `${names.map((name, i) => section(name, parts[i][0])).join('')}${section('Options of every command', parts[0][1].replace(/^\n/, ''))}\n`
}

/** Values and functions, operations, types: name and sentence, the name a link to where it is declared. */
function exportTables() {
  const all = listExports()
  const groups = {
    'Functions and values': all.filter(({ kind, within }) => !within && ['function', 'const'].includes(kind)),
    Classes: all.filter(({ kind, within }) => !within && kind === 'class'),
    'Operations: ops': all.filter(({ within }) => within === 'ops'),
    'Image transforms: transforms': all.filter(({ within }) => within === 'transforms'),
    Types: all.filter(({ kind, within }) => !within && ['type', 'interface'].includes(kind)),
  }
  const cell = (text) => text.replace(/\|/g, '\\|').replace(/</g, '&lt;')
  const row = ({ name, file, sentence }) => `| [${name}](../${file}) | ${cell(sentence)} |\n`
  const byName = (a, b) => a.name.localeCompare(b.name, 'en')
  return `${Object.entries(groups)
    .map(
      ([title, entries]) =>
        `\n## ${title}\n\n| export | |\n| --- | --- |\n${[...entries].sort(byName).map(row).join('')}`,
    )
    .join('')}\n`
}
