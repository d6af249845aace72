// Builds lowbit: dist/ from src/, then the kernels (native where there is a compiler, and WebAssembly).
//
//   npm run build [-- --require-native]
//   npm run build -- --first-run      only the kernels that are fastest here: what `npm run quickstart` needs
import { spawnSync } from 'node:child_process'
import { cpSync, readdirSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { joinModules } from './joinModules.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const [dist, modules] = [`${root}dist`, `${root}build/modules`]

for (const folder of [dist, modules]) rmSync(folder, { recursive: true, force: true })
run([
  fileURLToPath(new URL('../node_modules/typescript/bin/tsc', import.meta.url)),
  '-p',
  'tsconfig.build.json',
])
joinModules(modules, dist)
const options = process.argv.slice(2)
run([
  fileURLToPath(new URL('../native/build.mjs', import.meta.url)),
  ...(await Promise.all(options.map(kernelOption))),
])
// Browsers load these from beside host.browser.js.
for (const name of readdirSync(`${root}build`))
  if (name.endsWith('.wasm')) cpSync(`${root}build/${name}`, `${dist}/core/${name}`)

/** The device room says what this Node runs. */
async function kernelOption(option) {
  if (option !== '--first-run') return option
  const { wasmVariants } = await import('../build/modules/devices/cpu/wasm.js')
  return `--first-run=${wasmVariants()[0]}`
}

function run(args) {
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
