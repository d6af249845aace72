import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { buildSync } from 'esbuild'

/** The modules that keep their place: what is imported by name, and what finds a file beside itself. */
const entries = [
  'index.js',
  'cli/main.js',
  'core/host.browser.js',
  'core/host.node.js',
  'devices/cpu/wasmWorker.node.js',
  'formats/files.browser.js',
  'formats/files.node.js',
]

/**
 * Joins the modules that lie in the folder `from` into a few files in `to`, which Node loads in half the time
 * of 170; what is imported when it is used stays apart. A worker in a browser is one file, beside what starts
 * it.
 */
export function joinModules(from, to) {
  const options = { bundle: true, format: 'esm', target: 'es2022', logLevel: 'warning' }
  buildSync({
    ...options,
    entryPoints: entries.map((name) => join(from, name)),
    outbase: from,
    outdir: to,
    splitting: true,
    chunkNames: 'chunks/[name]-[hash]',
    packages: 'external',
    // The package's own imports, which the platform chooses.
    external: ['#host', '#files'],
  })
  buildSync({
    ...options,
    entryPoints: [join(from, 'devices', 'cpu', 'wasmWorker.browser.js')],
    outfile: join(to, 'core', 'lowbit-worker.js'),
  })
  chmodSync(join(to, 'cli', 'main.js'), 0o755)
}
