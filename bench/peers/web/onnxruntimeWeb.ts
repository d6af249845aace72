// ONNX Runtime in WebAssembly, as onnxruntime-web runs it: node bench/peers/web/onnxruntimeWeb.ts THREADS. It
// answers as python/serve.py says. Its package is not there before it was installed, so what is used of it is
// written down here.
import { readFileSync } from 'node:fs'
import { type Prepared, serveLibrary } from '../library.ts'
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

const name: string = 'onnxruntime-web'
const ort = (await import(name)) as Package
ort.env.wasm.numThreads = Number(process.argv[2])
/** Products of a call, so that what a call itself takes hardly counts. */
const products = 16

async function prepare({ n, k, rows, weights, groupSize }: LayerWork): Promise<Prepared> {
  if (weights !== 'int4' || n !== k || rows !== 1 || !groupSize)
    throw new Error(`has no product of ${rows} rows of ${n} × ${k} with ${weights}`)
  const file = productsOf4Bits(n, groupSize, products)
  const session = await ort.InferenceSession.create(file, { executionProviders: ['wasm'] })
  const x0 = new ort.Tensor(
    'float32',
    Float32Array.from({ length: n }, (_, i) => Math.sin(i)),
    [1, n],
  )
  const run = async () => {
    for (const y of Object.values(await session.run({ x0 }))) y.dispose()
  }
  return { what: 'MatMulNBits', bytes: (n * k) / 2 + (4 * n * k) / groupSize, run, calls: products }
}

function versions(): string {
  const description = new URL(`node_modules/${name}/package.json`, import.meta.url)
  const { version } = JSON.parse(readFileSync(description, 'utf8')) as { version: string }
  return `${name} ${version}, Node ${process.version}`
}

await serveLibrary({ versions, prepare })
