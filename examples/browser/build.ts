// npm run build:browser [-- FOLDER]: the page with all it needs, as files for any static server;
// build/browser by default.
import { cpSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { readOptions } from '../options.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const here = import.meta.dirname

/**
 * Bundles TypeScript that imports `lowbit`, with the worker and the WebAssembly modules beside it. Returns
 * the bytes of each bundled file.
 * @param entries the scripts, by the names of their bundles
 */
export async function bundle(entries: Record<string, string>, folder: string): Promise<Map<string, number>> {
  const { metafile } = await build({
    entryPoints: { ...entries, 'lowbit-worker': join(root, 'src/devices/cpu/wasmWorker.browser.ts') },
    // From the sources of this repository; an app takes the package from node_modules and needs neither of
    // these.
    alias: { lowbit: join(root, 'src/index.ts') },
    conditions: ['lowbit-source'],
    bundle: true,
    format: 'esm',
    splitting: true,
    minify: true,
    target: 'es2022',
    outdir: folder,
    metafile: true,
    logLevel: 'error',
  })
  const modules = readdirSync(join(root, 'build')).filter((name) => /^lowbit-.*\.wasm$/.test(name))
  if (modules.length < 4)
    throw new Error(
      `bundle: build/ must hold the four WebAssembly modules; it holds ${modules.length}. Run "npm run build"`,
    )
  for (const name of modules) cpSync(join(root, 'build', name), join(folder, name))
  return new Map(
    Object.entries(metafile.outputs).map(([path, { bytes }]) => [
      path.slice(path.lastIndexOf('/') + 1),
      bytes,
    ]),
  )
}

/** Writes the whole page into `folder`. */
export async function buildPage(folder: string): Promise<Map<string, number>> {
  mkdirSync(folder, { recursive: true })
  for (const name of ['index.html', 'style.css', 'report.css', 'calibrated.css', 'own.css'])
    cpSync(join(here, name), join(folder, name))
  for (const name of ['stories260K', 'tinystories.txt'])
    cpSync(join(root, 'models', name), join(folder, 'models', name), { recursive: true })
  return bundle({ main: join(here, 'main.ts') }, folder)
}

if (import.meta.main) {
  const about = `Bundles the page that quantizes models in the browser, with the WebAssembly modules and the embedded
model, into FOLDER (default: build/browser): files for any static server. "npm run build" must have
made all modules.`
  const folder =
    readOptions('browser/build [FOLDER]', about, {}, 1).positionals[0] ?? join(root, 'build/browser')
  for (const [name, bytes] of await buildPage(folder)) console.log(`${name.padEnd(28)} ${bytes} bytes`)
  console.log(`\nThe page is in ${folder}; show it with: npm run example browser/serve -- ${folder}`)
}
