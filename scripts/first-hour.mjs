// Two first tasks of a new user, in an empty folder and with nothing but lines of the README, timed from `npm install` on:
// to a quantized model of one's own, and to an answer of SmolLM2. The package comes from a registry on this machine, as it is published.
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
const readme = readFileSync(join(root, 'README.md'), 'utf8')
/** The first block of this language that holds the text. */
const blockWith = (language, text) =>
  [...readme.matchAll(/```(\w+)\n([\s\S]*?)```/g)].find((m) => m[1] === language && m[2].includes(text))?.[2]
const install = blockWith('sh', 'npm install lowbit').trim()
const own = blockWith('ts', 'class Net extends')
const chat = blockWith('sh', '--chat')
  .split('\n')
  .find((line) => line.includes('--chat'))
const model = execFileSync(process.execPath, [join(root, 'scripts/fetch-smollm2.mjs')], { encoding: 'utf8' }).trim()

const work = mkdtempSync(join(tmpdir(), 'lowbit-first-hour-'))
const registry = await publishLocally(join(work, 'registry'))
try {
  timed('a quantized model of one’s own', (folder, sh) => {
    writeFileSync(join(folder, 'net.mts'), own)
    sh(`'${process.execPath}' net.mts`)
  })
  timed('a chat with SmolLM2', (folder, sh) => {
    cpSync(model, join(folder, basename(model)))
    sh(`npx ${chat}`)
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
