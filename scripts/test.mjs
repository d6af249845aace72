// npm test [-- FILE|FOLDER …]: builds, then runs the tests (all but those that need Python or fresh clones,
// which have commands of their own) and closes with one line: `N passed, N failed`, and how many were
// skipped.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { finished } from 'node:stream/promises'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { fileURLToPath } from 'node:url'

const leastMajor = 24
if (Number(process.versions.node.split('.')[0]) < leastMajor) {
  console.error(
    `lowbit: the tests need Node ${leastMajor} (they run TypeScript directly); this is ${process.version}. "npm install" brings it along: run them through "npm test".`,
  )
  process.exit(1)
}
process.chdir(fileURLToPath(new URL('..', import.meta.url)))

/**
 * Not part of `npm test`: they need Python, a large model or Chromium, or clone and install the whole
 * project.
 */
const apart = ['test/interop', 'test/large', 'test/browser', 'test/release']
const asked = process.argv.slice(2)
const files = (asked.length > 0 ? asked : ['test'])
  .flatMap(testFiles)
  .filter((file) => asked.length > 0 || !apart.some((folder) => file.startsWith(folder)))
if (files.length === 0) {
  console.error(`lowbit: no test files in ${asked.join(', ')}`)
  process.exit(1)
}

// Where the addon must not be missing (CI), its absence fails the run; elsewhere everything is tested on
// WebAssembly.
const required = process.env.LOWBIT_NATIVE === 'required'
const built = spawnSync(process.execPath, ['scripts/build.mjs', ...(required ? ['--require-native'] : [])], {
  stdio: 'inherit',
})
if (built.status !== 0) process.exit(1)
if (!existsSync('build/lowbit.node')) {
  process.env.LOWBIT_NATIVE = 'absent'
  process.env.LOWBIT_DEVICES = 'wasm'
}

// Hundreds of processes read the same modules: what Node makes of one is kept for the others.
process.env.NODE_COMPILE_CACHE ??= join(process.cwd(), 'build', 'compiled')

// Whether a page stays alive is seen where nothing else runs.
const concurrency = asked.includes('test/browser') ? 1 : 2

let passed = 0
let failed = 0
let skipped = 0
const tests = run({ files, concurrency, execArgv: ['--conditions=lowbit-source'] })
// A file is a test of its own to the runner; only those within count, and a file that fails without any.
tests.on('test:pass', ({ details, skip }) => {
  if (skip) skipped++
  else if (details.type !== 'suite') passed++
})
tests.on('test:fail', ({ details }) => {
  if (details.type !== 'suite') failed++
})
const report = tests.compose(spec)
report.pipe(process.stdout)
await finished(report)
// In CI a test that is skipped, for want of data or of a device, has not passed.
if (process.env.CI && skipped > 0) {
  console.error(
    `lowbit: ${skipped} tests were skipped, which counts as a failure in CI; the lines with ﹣ above say what each lacks`,
  )
  failed += skipped
}
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
process.exitCode = failed > 0 || passed === 0 ? 1 : 0

function testFiles(path) {
  if (!existsSync(path)) return []
  if (!statSync(path).isDirectory()) return [path]
  return readdirSync(path, { recursive: true })
    .map((name) => join(path, String(name)))
    .filter((name) => name.endsWith('.test.ts'))
    .sort()
}
