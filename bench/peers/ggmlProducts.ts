// Products of ggml itself, as node-llama-cpp has it for this processor: node bench/peers/ggmlProducts.ts
// THREADS. It answers as python/serve.py says. Its packages are not there before `installPeer`, so what is
// used of koffi is written down here.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Prepared, serveLibrary } from './library.ts'
import type { LayerWork } from './works.ts'

type Pointer = object
type Native = (...args: unknown[]) => unknown

interface Koffi {
  load(path: string): { func(declaration: string): Native }
  struct(name: string, fields: Record<string, string>): object
  proto(declaration: string): object
  pointer(type: object): object
  register(callback: () => void, type: object): unknown
  call(pointer: Pointer, type: object, ...args: unknown[]): unknown
  decode(pointer: Pointer, type: string, length: number): (Pointer | null)[]
}

const name: string = 'koffi'
const { default: koffi } = (await import(name)) as { default: Koffi }
const machine = `${process.platform}-${process.arch}`
const folder = join(import.meta.dirname, `node_modules/@node-llama-cpp/${machine}/bins/${machine}`)
const [base, loader] = ['libggml-base.so', 'libggml.v0.5.0.so'].map((file) => koffi.load(join(folder, file)))
koffi.struct('Params', { mem_size: 'size_t', mem_buffer: 'void *', no_alloc: 'bool' })
const ggml = {
  init: base.func('void *ggml_init(Params params)'),
  matrix: base.func('void *ggml_new_tensor_2d(void *context, int type, int64_t columns, int64_t rows)'),
  multiply: base.func('void *ggml_mul_mat(void *context, void *w, void *x)'),
  graph: base.func('void *ggml_new_graph(void *context)'),
  append: base.func('void ggml_build_forward_expand(void *graph, void *tensor)'),
  bytes: base.func('size_t ggml_nbytes(void *tensor)'),
  quantize: base.func(
    'size_t ggml_quantize_chunk(int type, const void *x, void *y, int64_t start, int64_t rows, int64_t columns, const void *importance)',
  ),
  memory: base.func('void *ggml_backend_dev_buffer_type(void *device)'),
  memoryName: base.func('const char *ggml_backend_buft_name(void *memory)'),
  allocate: base.func('void *ggml_backend_alloc_ctx_tensors_from_buft(void *context, void *memory)'),
  set: base.func('void ggml_backend_tensor_set(void *tensor, const void *data, size_t offset, size_t size)'),
  open: base.func('void *ggml_backend_dev_init(void *device, const char *parameters)'),
  compute: base.func('int ggml_backend_graph_compute(void *backend, void *graph)'),
}
const find = base.func('void *ggml_backend_reg_get_proc_address(void *registered, const char *name)')

// It would say so of each weight that it repacks.
const silence = koffi.register(() => {}, koffi.pointer(koffi.proto('void Log(int, const char *, void *)')))
base.func('void ggml_log_set(void *log, void *data)')(silence, null)
loader.func('void ggml_backend_load_all_from_path(const char *path)')(folder)
const cpu = loader.func('void *ggml_backend_dev_by_type(int type)')(0)
const registered = base.func('void *ggml_backend_dev_backend_reg(void *device)')(cpu)
const backend = ggml.open(cpu, null)
const call = (name: string, declaration: string, ...args: unknown[]) =>
  koffi.call(find(registered, name) as Pointer, koffi.proto(declaration), ...args)
call('ggml_backend_set_n_threads', 'void SetThreads(void *, int)', backend, Number(process.argv[2]))

/** Memory in which weights are held in the order that the fastest kernels read. */
const memories = call('ggml_backend_dev_get_extra_bufts', 'void *ExtraMemories(void *)', cpu) as Pointer
const [repacked] = koffi.decode(memories, 'void *', 1)
if (!repacked || ggml.memoryName(repacked) !== 'CPU_REPACK')
  throw new Error('ggml: has no memory for repacked weights here')

/** ggml's numbers of its types. */
const float32 = 0
const types = {
  int4: { what: 'q4_0, repacked', number: 2, memory: repacked },
  // Repacked for ARM alone.
  int8: { what: 'q8_0', number: 8, memory: ggml.memory(cpu) },
}

function prepare({ n, k, rows, weights, copies, groupSize }: LayerWork): Prepared {
  if ((weights !== 'int4' && weights !== 'int8') || groupSize !== 32)
    throw new Error(`has no product with ${weights}`)
  const { what, number, memory } = types[weights]
  // Descriptions alone: what they describe is allocated where it shall lie.
  const context = () => ggml.init({ mem_size: 16e6, mem_buffer: null, no_alloc: true })
  const [held, computed] = [context(), context()]
  const layers = Array.from({ length: copies }, () => ggml.matrix(held, number, k, n))
  ggml.allocate(held, memory)
  const bytes = Number(ggml.bytes(layers[0]))
  const blocks = Buffer.alloc(bytes)
  ggml.quantize(number, noise(n * k), blocks, 0, n, k, null)
  for (const layer of layers) ggml.set(layer, blocks, 0, bytes)

  const x = ggml.matrix(computed, float32, k, rows)
  const graph = ggml.graph(computed)
  for (const layer of layers) ggml.append(graph, ggml.multiply(computed, layer, x))
  ggml.allocate(computed, ggml.memory(cpu))
  ggml.set(x, noise(rows * k), 0, 4 * rows * k)
  const run = () => {
    if (ggml.compute(backend, graph) !== 0) throw new Error('ggml: could not compute')
  }
  return { what, bytes, run, calls: copies }
}

const noise = (length: number) => Float32Array.from({ length }, (_, i) => Math.sin(i * i))

function versions(): string {
  const description = new URL('node_modules/node-llama-cpp/package.json', import.meta.url)
  const { version } = JSON.parse(readFileSync(description, 'utf8')) as { version: string }
  return `ggml of node-llama-cpp ${version}`
}

await serveLibrary({ versions, prepare })
