// Two first tasks of a new user, in an empty folder and with nothing but lines of the documentation, timed
// from `npm install` on: to a quantized model of one's own, and to an answer of SmolLM2. The package comes
// from a registry on this machine, as it is published.
//
//   npm run build:platforms -- linux-x64-gnu && node scripts/first-hour.mjs
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cleanVariables } from '../test/release/environment.ts'
import { publishLocally } from '../test/release/registry.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
/** The first block of code in a page that holds the text. */
function blockWith(page, text) {
  const blocks = readFileSync(join(root, page), 'utf8').matchAll(/```\w+[^\n]*\n([\s\S]*?)```/g)
  const found = [...blocks].find(([, code]) => code.includes(text))
  if (!found) throw new Error(`first-hour: ${page} must have a block of code with ${text}; it has none`)
  return found[1]
}
const install = blockWith('README.md', 'npm install lowbit').trim()
const own = blockWith('README.md', 'class Net extends')
const chat = blockWith('docs/chat.md', '--chat')
  .split('\n')
  .find((line) => line.includes('--chat'))
const model = execFileSync(process.execPath, [join(root, 'scripts/fetch-smollm2.mjs')], {
  encoding: 'utf8',
}).trim()

const work = mkdtempSync(join(tmpdir(), 'lowbit-first-hour-'))
const registry = await publishLocally(join(work, 'registry'))
try {
  timed('a quantized model of one’s own', (folder, sh) => {
    writeFileSync(join(folder, 'net.mts'), own)
    sh(`'${process.execPath}' net.mts`)
  })
  timed('a chat with SmolLM2', (folder, sh) => {
    cpSync(model, join(folder, basename(model)))
    sh(`model='${basename(model)}'; ${chat}`)
  })
} finally {
  registry.close()
  rmSync(work, { recursive: true, force: true })
}

/** Does a task in an empty folder, and says how long it took from `npm install` on. */
function timed(name, task) {
  const folder = join(work, name.replaceAll(' ', '-'))
  mkdirSync(folder)
  const sh = (line) => execFileSync('sh', ['-c', line], { cwd: folder, env, stdio: 'inherit' })
  const env = { ...cleanVariables(), npm_config_registry: registry.url }
  const started = performance.now()
  sh(install)
  task(folder, sh)
  console.log(`first hour: ${name}: ${((performance.now() - started) / 1000).toFixed(1)} s from "${install}"`)
}
