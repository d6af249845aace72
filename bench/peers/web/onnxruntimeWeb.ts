// ONNX Runtime in WebAssembly, as onnxruntime-web runs it: node bench/peers/web/onnxruntimeWeb.ts THREADS. It
// answers as python/serve.py says. Its package is not there before it was installed, so what is used of it is
// written down here.
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { LayerWork } from '../works.ts'
import { productsOf4Bits } from './onnx.ts'

interface Session {
  run(feeds: Record<string, object>): Promise<Record<string, { dispose(): void }>>
}

interface Package {
  env: { wasm: { numThreads: number } }
  Tensor: new (type: 'float32', values: Float32Array, dims: number[]) => object
  InferenceSession: { create(file: Uint8Array, options: object): Promise<Session> }
}

type Request = { call: 'versions' } | { call: 'prepare'; work: LayerWork } | { call: 'time'; ms: number }

const name: string = 'onnxruntime-web'
const ort = (await import(name)) as Package
ort.env.wasm.numThreads = Number(process.argv[2])
/** Products of a call, so that what a call itself takes hardly counts. */
const products = 16

let run = async (): Promise<void> => {}

async function prepare({ n, k, rows, weights, groupSize }: LayerWork): Promise<object> {
  if (weights !== 'int4' || n !== k || rows !== 1 || !groupSize)
    throw new Error(`has no product of ${rows} rows of ${n} × ${k} with ${weights}`)
  const file = productsOf4Bits(n, groupSize, products)
  const session = await ort.InferenceSession.create(file, { executionProviders: ['wasm'] })
  const x0 = new ort.Tensor(
    'float32',
    Float32Array.from({ length: n }, (_, i) => Math.sin(i)),
    [1, n],
  )
  run = async () => {
    for (const y of Object.values(await session.run({ x0 }))) y.dispose()
  }
  await run()
  return { what: 'MatMulNBits', bytes: (n * k) / 2 + (4 * n * k) / groupSize }
}

/** The least milliseconds of a product, of `ms` milliseconds of them. */
async function time(ms: number): Promise<number> {
  let least = Infinity
  for (const begun = performance.now(); performance.now() - begun < ms; ) {
    const started = performance.now()
    await run()
    least = Math.min(least, performance.now() - started)
  }
  return least / products
}

function answer(request: Request): unknown {
  if (request.call === 'prepare') return prepare(request.work)
  if (request.call === 'time') return time(request.ms)
  const description = new URL(`node_modules/${name}/package.json`, import.meta.url)
  const { version } = JSON.parse(readFileSync(description, 'utf8')) as { version: string }
  return `${name} ${version}, Node ${process.version}`
}

for await (const line of createInterface({ input: process.stdin })) {
  const reply = await Promise.resolve()
    .then(() => answer(JSON.parse(line) as Request))
    .then(
      (result) => ({ result }),
      (error: Error) => ({ error: error.message }),
    )
  process.stdout.write(`${JSON.stringify(reply)}\n`)
}
process.exit(0)
