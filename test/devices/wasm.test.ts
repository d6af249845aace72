import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { test } from 'node:test'
import type { Backend } from '../../src/devices/backend.ts'
import { openWasm, wasmVariants } from '../../src/devices/cpu/wasm.ts'
import { Device } from '../../src/devices/device.ts'
import { signatures } from '../../src/kernels/signatures.ts'

const source = (path: string) => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href)

/** Runs a module that has `openWasm` in a Node process of its own. */
function runChild(
  body: string,
  flags: string[] = [],
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const args = [...flags, '--conditions=lowbit-source', '--input-type=module', '-e']
  const child = spawn(
    process.execPath,
    [...args, `const { openWasm } = await import(${source('devices/cpu/wasm.ts')})\n${body}`],
    {
      timeout: 30_000,
    },
  )
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (text) => (stdout += text))
  child.stderr.on('data', (text) => (stderr += text))
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })))
}

/**
 * y [M, N] = x [M, K] · wᵀ, x[m, k] = m + 1 and w[n, k] = n - 2, so that y[m, n] = K (m + 1) (n - 2), exact
 * in float32.
 */
function product(backend: Backend, M: number, N: number, K: number) {
  const [x, w, y] = [M * K, N * K, M * N].map((count) => backend.allocate(4 * count))
  const put = (address: number, values: Float32Array) => backend.write(address, new Uint8Array(values.buffer))
  put(
    x,
    Float32Array.from({ length: M * K }, (_, i) => Math.floor(i / K) + 1),
  )
  put(
    w,
    Float32Array.from({ length: N * K }, (_, i) => Math.floor(i / K) - 2),
  )
  const record = [signatures.gemm.id, x, w, 0, 0, y, 1, 1, 1, M, N, K, 0, 1, 0]
  const expected = Float32Array.from({ length: M * N }, (_, i) => K * (Math.floor(i / N) + 1) * ((i % N) - 2))
  const result = async () => {
    const values = new Float32Array(M * N)
    await backend.read(y, new Uint8Array(values.buffer))
    return values
  }
  return { record, expected, result }
}

for (const variant of wasmVariants()) {
  for (const threads of [2, 5]) {
    test(`wasm ${variant}: ${threads} threads split kernels, again and again, and lose no task`, async () => {
      const backend = openWasm({ variant, threads })
      assert.equal(backend.threads, threads)
      assert.equal(backend.name, `wasm ${variant}-threads`)
      for (const [M, N, K] of [
        [1, 700, 96],
        [64, 512, 64],
        [3, 5, 7],
      ]) {
        const { record, expected, result } = product(backend, M, N, K)
        for (let round = 0; round < 20; round++) {
          // Every other round the workers have gone to sleep.
          if (round % 2) await new Promise((resolve) => setTimeout(resolve, 3))
          backend.run(Float64Array.from(Array.from({ length: 20 }, () => record).flat()))
          assert.deepEqual(await result(), expected)
        }
      }
      await backend.close()
    })
  }
}

test('wasm: several devices at once, each with threads of its own', async () => {
  const backends = [2, 3, 1, 4].map((threads) => openWasm({ threads }))
  const products = backends.map((backend, i) => product(backend, 16 + i, 300, 64))
  for (let round = 0; round < 10; round++) {
    for (const [i, backend] of backends.entries()) backend.run(Float64Array.from(products[i].record))
    await Promise.all(
      products.map(async ({ result, expected }) => assert.deepEqual(await result(), expected)),
    )
  }
  await Promise.all(backends.map((backend) => backend.close()))
})

test('wasm: memory grows while kernels run, and all threads see it', async () => {
  const backend = openWasm({ threads: 3 })
  const { record, expected, result } = product(backend, 64, 512, 64)
  for (let round = 0; round < 8; round++) {
    backend.run(Float64Array.from(Array.from({ length: 10 }, () => record).flat()))
    // 17 MiB: each one beyond the memory so far. The copy of all of it is split among the threads.
    const bytes = 17 * 2 ** 20
    const [from, to] = [backend.allocate(bytes), backend.allocate(bytes)]
    backend.write(from, new Uint8Array(bytes).fill(round + 1))
    backend.run(Float64Array.of(signatures.copy.id, from, to, bytes))
    const copied = new Uint8Array(bytes)
    await backend.read(to, copied)
    assert.ok(Buffer.from(copied.buffer).equals(Buffer.alloc(bytes, round + 1)))
  }
  assert.deepEqual(await result(), expected)
  await backend.close()
})

test('wasm: memory that the engine refuses to a shared memory is refused at once', async () => {
  const child = await runChild(
    `const backend = openWasm({ threads: 2 })
    try { backend.allocate(2 ** 28) } catch (error) { console.log(error.name, error.message) }
    await backend.read(backend.allocate(4), new Uint8Array(4))
    console.log('goes on')`,
    ['--wasm-max-mem-pages=1024'],
  )
  assert.equal(child.stderr, '')
  assert.match(
    child.stdout,
    /^DeviceError wasm \w+-threads: could not grow memory from \d+ to \d+ bytes\ngoes on\n$/,
  )
})

test('wasm: where memory cannot be shared there is one thread', async () => {
  const read =
    'const bytes = new Uint8Array(4); await backend.read(backend.allocate(4), bytes); console.log(backend.name, backend.threads)'
  for (const hide of ['delete globalThis.SharedArrayBuffer', 'globalThis.crossOriginIsolated = false']) {
    const { stdout, stderr } = await runChild(`${hide}; const backend = openWasm({ threads: 4 }); ${read}`)
    assert.equal(stderr, '')
    assert.match(stdout, /^wasm (relaxed|simd128) 1\n$/)
  }
})

/** The second worker is refused, those after it end at once, before they hear anything. */
const failingWorkers = `
  import workers from 'node:worker_threads'
  import { syncBuiltinESMExports } from 'node:module'
  let started = 0
  const { Worker } = workers
  workers.Worker = function (file, options) {
    started++
    if (started === 2) throw new Error('no more threads')
    return started === 1 ? new Worker(file, options) : new Worker('throw new Error("no more threads")', { eval: true })
  }
  syncBuiltinESMExports()
`

test('wasm: workers that do not start leave their work to the others, with one warning', async () => {
  const { code, stdout, stderr } = await runChild(`${failingWorkers}
    const backend = openWasm({ threads: 3 })
    const bytes = 2 ** 22
    const [from, to] = [backend.allocate(bytes), backend.allocate(bytes)]
    backend.write(from, new Uint8Array(bytes).fill(7))
    const copied = new Uint8Array(bytes)
    for (let i = 0; i < 20; i++) {
      backend.run(Float64Array.of(${signatures.copy.id}, from, to, bytes))
      await backend.read(to, copied)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    console.log(copied.every((byte) => byte === 7), backend.threads)
  `)
  assert.deepEqual([code, stdout], [0, 'true 1\n'])
  assert.match(
    stderr,
    /^lowbit: wasm \w+-threads: a worker did not start \(no more threads\); going on with fewer threads\n$/,
  )
})

test('wasm: what the build has made is taken; without any module the error says what makes it', async () => {
  const { stdout } = await runChild(`
    const { host } = await import(${source('core/host.node.ts')})
    const { readWasm } = host
    host.hasWasm = (name) => name.startsWith('simd128')
    const first = openWasm()
    console.log(first.name)
    await first.close()
    host.hasWasm = () => false
    host.readWasm = () => readWasm('simd64')
    const none = openWasm({ threads: 1 })
    await none.read(0, new Uint8Array(0)).catch((error) => console.log(error.name, error.message))
  `)
  assert.match(
    stdout,
    /^wasm simd128(-threads)?\nDeviceError wasm simd64: \S+lowbit-simd64\.wasm must exist; run "npm run build", which makes it\n$/,
  )
})

test('wasm: without any worker there is no device', async () => {
  const { stdout } = await runChild(`
    import workers from 'node:worker_threads'
    import { syncBuiltinESMExports } from 'node:module'
    workers.Worker = function () { throw new Error('no threads') }
    syncBuiltinESMExports()
    try { openWasm() } catch (error) { console.log(error.name, error.message) }
  `)
  assert.match(stdout, /^DeviceError wasm [\w-]+: a worker must start; no threads\n$/)
})

for (const threads of [1, 2]) {
  test(`wasm, ${threads} threads: 10,000 steps of writing, computing and reading keep memory flat`, async () => {
    const { stdout, stderr } = await runChild(
      `const backend = openWasm({ threads: ${threads} })
      const bytes = 2 ** 16, source = new Uint8Array(bytes), target = new Uint8Array(bytes)
      const step = async (i) => {
        const [from, to] = [backend.allocate(bytes), backend.allocate(bytes)]
        backend.write(from, source.fill(i))
        backend.run(Float64Array.of(${signatures.copy.id}, from, to, bytes))
        backend.free(from, bytes)
        backend.free(to, bytes)
        await backend.read(to, target)
        if (target[bytes - 1] !== i % 256) throw new Error('step ' + i)
      }
      for (let i = 0; i < 2000; i++) await step(i)
      const before = process.memoryUsage.rss()
      for (let i = 0; i < 10000; i++) await step(i)
      console.log(Math.round((process.memoryUsage.rss() - before) / 2 ** 20))`,
    )
    assert.equal(stderr, '')
    // One buffer kept a step would be 625 MiB; garbage that V8 has not collected yet was 53 at times.
    assert.ok(Number(stdout) < 128, `grew by ${stdout} MiB`)
  })
}

test('wasm: availableBytes falls by what is allocated and comes back', async () => {
  for (const threads of [1, 2]) {
    const backend = openWasm({ threads })
    const before = backend.availableBytes()
    assert.ok(before > 2 ** 24 && before <= 2 ** 32, `${before} bytes`)
    // Taken from the end, then from what was freed: platform and address space only bound what was never
    // used.
    const x = backend.allocate(2 ** 26)
    backend.free(x, 2 ** 26)
    const freed = backend.availableBytes()
    const y = backend.allocate(2 ** 26)
    assert.ok(Math.abs(freed - backend.availableBytes() - 2 ** 26) < 2 ** 24)
    backend.free(y, 2 ** 26)
    await backend.close()
  }
  const child = await runChild(
    `const backend = openWasm({ threads: 2 }); process.availableMemory = () => 1000; console.log(backend.availableBytes())`,
  )
  assert.equal(child.stdout, '1000\n')
})

test('settled: waits only when more than the limit is on its way', async () => {
  const log: string[] = []
  const taken: (() => void)[] = []
  const backend: Backend = {
    name: 'fake',
    threads: 1,
    availableBytes: () => 0,
    allocate: () => 64,
    free() {},
    upload: async () => {},
    write: (_, { length }) => void log.push(`write ${length}`),
    run() {},
    stopFlags: 0,
    raise() {},
    read: () => new Promise((resolve) => taken.push(resolve)),
    async close() {},
  }
  const device = new Device(backend)
  const region = { storage: device.allocate(1000), byteOffset: 0 }
  const write = async (bytes: number) => {
    device.write(region, new Uint8Array(bytes))
    await device.settled(100)
    log.push('settled')
  }
  await write(40)
  await write(60)
  const third = write(30)
  await new Promise(setImmediate)
  assert.deepEqual(log, ['write 40', 'settled', 'write 60', 'settled', 'write 30'])
  taken[0]()
  await third
  const fourth = write(101)
  for (const done of taken) done()
  await fourth
  assert.deepEqual(log.slice(5), ['settled', 'write 101', 'settled'])
})
