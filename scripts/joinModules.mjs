import { cpSync, readdirSync } from 'node:fs'
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
 * Copies `dist` with its modules joined into a few files, which Node loads in half the time of 170; what is
 * imported when it is used stays apart. Types and WebAssembly modules lie where they lay.
 */
export function joinModules(from, to) {
  buildSync({
    entryPoints: entries.map((name) => join(from, name)),
    outbase: from,
    outdir: to,
    bundle: true,
    splitting: true,
    format: 'esm',
    target: 'es2022',
    chunkNames: 'chunks/[name]-[hash]',
    packages: 'external',
    // The package's own imports, which the platform chooses.
    external: ['#host', '#files'],
    logLevel: 'warning',
  })
  for (const name of readdirSync(from, { recursive: true }))
    if (/\.(wasm|d\.ts)$/.test(name) || name.endsWith('lowbit-worker.js'))
      cpSync(join(from, name), join(to, name))
}
