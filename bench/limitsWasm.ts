import { readFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'

const iterations = 2_000_000
/** Twelve dot products of sixteen pairs, a multiply and an add each. */
const operations = iterations * 12 * 16 * 2

/** The compiler as a function; its package's types say nothing of it. */
type RunClang = (
  args: string[] | null,
  files: Record<string, string>,
  options?: object,
) => Promise<Record<string, Uint8Array>>

/**
 * int8 operations, 10⁹ per second, that V8 reaches at most with the relaxed dot product of WebAssembly on
 * `threads` threads: less than the processor's 128-bit registers could, where V8 has no single instruction
 * for it. 0 where the engine lacks it.
 */
export async function wasmInt8Gops(threads: number): Promise<number> {
  const { runClang } = (await import('@yowasp/clang')) as unknown as { runClang: RunClang }
  // Called without arguments it only loads itself, which it would otherwise report.
  await runClang(null, {}, { fetchProgress() {} })
  const source = readFileSync(new URL('limits.wasm.cc', import.meta.url), 'utf8')
  const flags = [
    '--target=wasm32-unknown-unknown',
    '-nostdlib',
    '-O3',
    '-msimd128',
    '-mrelaxed-simd',
    '-Wl,--no-entry',
  ]
  const files = await runClang(['clang++', ...flags, 'limits.cc', '-o', 'limits.wasm'], {
    'limits.cc': source,
  })
  const bytes = files?.['limits.wasm']
  if (!(bytes instanceof Uint8Array) || !WebAssembly.validate(bytes as Uint8Array<ArrayBuffer>)) return 0
  const seconds = await Promise.all(Array.from({ length: threads }, () => leastSeconds(bytes)))
  return seconds.reduce((sum, least) => sum + operations / least / 1e9, 0)
}

/** The least time of ten runs in a thread of its own. */
function leastSeconds(bytes: Uint8Array): Promise<number> {
  const code = `
    const { parentPort, workerData: { bytes, iterations } } = require('node:worker_threads')
    const { dots } = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports
    let least = Infinity
    for (let run = 0; run < 10; run++) {
      const start = performance.now()
      dots(iterations)
      least = Math.min(least, performance.now() - start)
    }
    parentPort.postMessage(least / 1000)`
  return new Promise((resolve, reject) => {
    const worker = new Worker(code, { eval: true, workerData: { bytes, iterations } })
    worker.once('message', resolve)
    worker.once('error', reject)
  })
}
