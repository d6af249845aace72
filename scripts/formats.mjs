// Records what is tested of each format: node scripts/formats.mjs [run] [write] [library] [FORMAT …]; without a part or a
// format, all.
//
//   run       checkpoints of the format's own library: weights are its own bit for bit, logits as near the float64 ones
//             as PyTorch's, perplexity within 0.05 %; native and in WebAssembly
//   write     models in every other format that were converted to it, and were what the plan said
//   library   what its own library, or program, read of ours, and made the same weights of; needs Python, as
//             npm run test:interop
//
// Each cell is a number of tests that passed; one that fails ends the run without a record. Then run node
// scripts/readme.mjs, which puts the table into docs/formats.md.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from 'node:test'
import { formats } from './formatTests.mjs'

const root = join(import.meta.dirname, '..')
process.chdir(root)
const parts = ['run', 'write', 'library']
const asked = process.argv.slice(2)
const names = formats.map(({ format }) => format)
const unknown = asked.find((one) => !parts.includes(one) && !names.includes(one))
if (unknown) {
  console.error(`formats: there are ${[...parts, ...names].join(', ')}; received ${unknown}`)
  process.exit(2)
}
const chosen = (all) =>
  all.some((one) => asked.includes(one)) ? all.filter((one) => asked.includes(one)) : all
const chosenFormats = chosen(names)
process.env.LOWBIT_CONVERSIONS = '1'

const path = 'bench/results/formats.json'
const { tested: recorded = [] } = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {}
const before = new Map(recorded.map((row) => [row.format, row]))
const counts = new Map()
for (const part of chosen(parts)) counts.set(part, await countsOf(part))

const [readColumn, nativeColumn, wasmColumn, writeColumn, libraryColumn] = [
  ...['checkpoints read', 'run native', 'run in WebAssembly', 'conversions to it', 'read by its own library'],
]
const tested = formats.map(({ format, library }) => {
  const cell = (part, column, show) => {
    if (!counts.has(part) || !chosenFormats.includes(format)) return before.get(format)?.[column] ?? ''
    const number = show(counts.get(part)(format))
    return number === 0 ? '' : number
  }
  return {
    format,
    [readColumn]: cell('run', readColumn, ({ read }) => read),
    [nativeColumn]: cell('run', nativeColumn, ({ native }) => native),
    [wasmColumn]: cell('run', wasmColumn, ({ wasm }) => wasm),
    [writeColumn]: cell('write', writeColumn, ({ all }) => all),
    [libraryColumn]: cell('library', libraryColumn, ({ all }) => (all === 0 ? 0 : `${all}: ${library.name}`)),
  }
})
const readme = formats.map(({ format, reads, writes }, i) => ({
  format,
  'reads and runs': reads,
  'writes: `convert --to`': writes,
  'which is read by': String(tested[i][libraryColumn]).replace(/^\d+: /, ''),
}))
writeFileSync(path, `${JSON.stringify({ tested, readme }, null, 2)}\n`)

/** Runs the tests of a part. @returns the numbers of a format */
async function countsOf(part) {
  const asked = formats.filter(({ format }) => chosenFormats.includes(format))
  const wanted = asked.flatMap((one) => (one[part] ? [{ format: one.format, ...one[part] }] : []))
  const files = [...new Set(wanted.flatMap(({ files: of }) => of))]
  const tests = []
  for (const file of files) tests.push(...(await passed(file)))
  return (format) => {
    const of = wanted.find((one) => one.format === format)
    const own = of
      ? tests.filter(({ file, suite, name }) => of.files.includes(file) && of.takes(name, suite))
      : []
    const on = (device) => own.filter(({ suite }) => suite.endsWith(` on ${device}`)).length
    const read = new Set(own.map(({ name }) => name)).size
    return { read, native: on('native'), wasm: on('wasm'), all: own.length }
  }
}

/** The tests of a file that passed, each with the suite that it is in; ends the process where one fails. */
function passed(file) {
  return new Promise((resolve) => {
    const found = []
    let waiting = []
    let failed = 0
    const tests = run({ files: [file], execArgv: ['--conditions=lowbit-source'] })
    tests.on('test:pass', ({ name, nesting, details }) => {
      if (details.type === 'suite') {
        found.push(...waiting.map((test) => ({ file, suite: name, name: test })))
        waiting = []
      } else if (nesting > 0) waiting.push(name)
      else found.push({ file, suite: '', name })
    })
    tests.on('test:fail', ({ name, details }) => {
      if (details.type === 'suite') return
      failed++
      console.error(`formats: ${file}: ${name} fails: ${details.error?.cause?.message ?? details.error}`)
    })
    tests.on('end', () => {
      if (failed > 0) process.exit(1)
      console.log(`formats: ${file}: ${found.length} tests`)
      resolve(found)
    })
    tests.resume()
  })
}
