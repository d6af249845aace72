// Quantizes with ggml itself: node bench/peers/ggml.ts FOLDER. The folder has jobs.json, a list of `GgmlJob`,
// and the files that they name. Its packages are not there before `installPeer`, so what is used of koffi is
// written down here.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** One matrix, to be quantized to a type. */
export interface GgmlJob {
  /** ggml's number of the type. */
  type: number
  rows: number
  cols: number
  /** [rows, cols] float32 */
  x: string
  /** [cols] float32: importance weights. */
  importance?: string
  /** Where the blocks go, so many bytes. */
  out: string
  bytes: number
}

interface Koffi {
  load(path: string): { func(declaration: string): (...args: unknown[]) => number }
}

const name: string = 'koffi'
const { default: koffi } = (await import(name)) as { default: Koffi }
const machine = `${process.platform}-${process.arch}`
const library = `node_modules/@node-llama-cpp/${machine}/bins/${machine}/libggml-base.so`
const ggml = koffi.load(join(import.meta.dirname, library))
const quantize = ggml.func(
  'size_t ggml_quantize_chunk(int type, const void *x, void *y, int64_t start, int64_t rows, int64_t cols, const void *importance)',
)
const folder = process.argv[2]
const read = (file: string) => readFileSync(join(folder, file))

for (const job of JSON.parse(read('jobs.json').toString('utf8')) as GgmlJob[]) {
  const blocks = Buffer.alloc(job.bytes)
  const importance = job.importance === undefined ? null : read(job.importance)
  const written = quantize(job.type, read(job.x), blocks, 0, job.rows, job.cols, importance)
  if (written !== job.bytes)
    throw new Error(`ggml: type ${job.type} takes ${written} bytes; ${job.bytes} are expected`)
  writeFileSync(join(folder, job.out), blocks)
}
