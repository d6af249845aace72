// Builds lowbit: dist/ from src/, then the kernels (native where there is a compiler, and WebAssembly).
//
//   npm run build [-- --require-native]
//   npm run build -- --first-run      only the kernels that are fastest here: what `npm run quickstart` needs
import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, readdirSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))

rmSync(new URL('../dist', import.meta.url), { recursive: true, force: true })
run([
  fileURLToPath(new URL('../node_modules/typescript/bin/tsc', import.meta.url)),
  '-p',
  'tsconfig.build.json',
])
const options = process.argv.slice(2)
run([
  fileURLToPath(new URL('../native/build.mjs', import.meta.url)),
  ...(await Promise.all(options.map(kernelOption))),
])
// Browsers load these from beside host.browser.js.
for (const name of readdirSync(`${root}build`))
  if (name.endsWith('.wasm')) cpSync(`${root}build/${name}`, `${root}dist/core/${name}`)
buildSync({
  entryPoints: { 'lowbit-worker': `${root}dist/devices/cpu/wasmWorker.browser.js` },
  bundle: true,
  format: 'esm',
  outdir: `${root}dist/core`,
})
chmodSync(new URL('../dist/cli/main.js', import.meta.url), 0o755)

/** The device room says what this Node runs. */
async function kernelOption(option) {
  if (option !== '--first-run') return option
  const { wasmVariants } = await import('../dist/devices/cpu/wasm.js')
  return `--first-run=${wasmVariants()[0]}`
}

function run(args) {
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
