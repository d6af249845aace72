import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { totalmem } from 'node:os'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { host } from '#host'
import { DeviceError } from '../../src/core/errors.ts'
import { Random } from '../../src/core/random.ts'
import type { Backend } from '../../src/devices/backend.ts'
import { nativeAvailable, nativeIsas, openNative } from '../../src/devices/cpu/native.ts'
import { openWasm, wasmVariants } from '../../src/devices/cpu/wasm.ts'
import { signatures } from '../../src/kernels/signatures.ts'

const copy = (x: number, y: number, bytes: number) => [signatures.copy.id, x, y, bytes]
const fill = (y: number, value: number, count: number) => [signatures.fill.id, y, value, count]
const list = (...records: number[][]) => Float64Array.from(records.flat())

const backends: Record<string, () => Backend> = {}
for (const isa of nativeIsas()) backends[`native ${isa}`] = () => openNative({ isa })
const modules = wasmVariants().flatMap((variant) => [variant, `${variant}-threads`] as const)
const missing = modules.filter((name) => !host.hasWasm(name))
for (const name of modules) {
  const variant = wasmVariants().find((known) => name.startsWith(known))
  // More threads than many machines have cores: workers must share them.
  const threads = name === variant ? 1 : 3
  if (!missing.includes(name)) backends[`wasm ${name}`] = () => openWasm({ variant, threads })
}

async function readBytes(backend: Backend, address: number, count: number): Promise<Uint8Array> {
  const target = new Uint8Array(count)
  await backend.read(address, target)
  return target
}

/** Runs a module in a Node process of its own. */
function runChild(
  source: string,
  flags: string[] = [],
): Promise<{ code: number | null; stdout: string; stderr: string; ms: number }> {
  const start = performance.now()
  const args = [...flags, '--conditions=lowbit-source', '--input-type=module', '-e', source]
  const child = spawn(process.execPath, args, { timeout: 30_000 })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (text) => (stdout += text))
  child.stderr.on('data', (text) => (stderr += text))
  return new Promise((resolve) =>
    child.on('close', (code) => resolve({ code, stdout, stderr, ms: performance.now() - start })),
  )
}

const source = (path: string) => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href)
const openers = `
  const { openNative } = await import(${source('devices/cpu/native.ts')})
  const { openWasm } = await import(${source('devices/cpu/wasm.ts')})
`
/** Copies 4 MiB 20,000 times: seconds of work. */
const longList = (backend: string) => `
  const backend = ${backend}
  const x = backend.allocate(2 ** 22), y = backend.allocate(2 ** 22)
  backend.run(Float64Array.from({ length: 20000 * 4 }, (_, i) => [${signatures.copy.id}, x, y, 2 ** 22][i % 4]))
`

test('the addon is there unless the run says that it may be missing', () => {
  assert.ok(
    nativeAvailable() || process.env.LOWBIT_NATIVE === 'absent',
    'build/lowbit.node: run "node native/build.mjs"',
  )
})

test('the WebAssembly modules are there', () => {
  assert.deepEqual(missing, [], 'build/lowbit-*.wasm: run "node native/build.mjs"')
})

for (const [name, open] of Object.entries(backends)) {
  test(`${name}: commands run in the order they were issued`, async () => {
    const backend = open()
    assert.equal(backend.name, name)
    const x = backend.allocate(8)
    const y = backend.allocate(8)
    assert.equal(x % 64, 0)
    assert.equal(y % 64, 0)
    const bytes = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)
    backend.write(x, bytes)
    bytes.fill(99)
    backend.run(list(copy(x, y, 8), fill(x, 1.5, 2)))
    const first = readBytes(backend, x, 8)
    backend.write(x, Uint8Array.of(9, 9))
    backend.run(list(copy(x, y + 6, 2)))
    // float32 1.5 is 0x3fc00000.
    assert.deepEqual([...(await first)], [0, 0, 0xc0, 0x3f, 0, 0, 0xc0, 0x3f])
    assert.deepEqual([...(await readBytes(backend, y, 8))], [1, 2, 3, 4, 5, 6, 9, 9])
    assert.deepEqual([...(await readBytes(backend, x, 4))], [9, 9, 0xc0, 0x3f])
    await backend.close()
  })

  test(`${name}: 1,000 interleaved commands over blocks that come and go leave what plain arrays hold`, async () => {
    const backend = open()
    const random = new Random(7)
    const below = (count: number) => random.uint32() % count
    const blocks: { address: number; bytes: Uint8Array }[] = []
    const reads: Promise<void>[] = []
    for (let step = 0; step < 1000; step++) {
      const kind = below(6)
      if (blocks.length < 4 || (kind === 0 && blocks.length < 40)) {
        const bytes = new Uint8Array(4 * (1 + below(5000))).map(() => random.uint32())
        const address = backend.allocate(bytes.length)
        backend.write(address, bytes)
        blocks.push({ address, bytes })
        continue
      }
      const from = blocks[below(blocks.length)]
      const to = blocks[below(blocks.length)]
      const count = Math.min(from.bytes.length, to.bytes.length)
      if (kind === 1) {
        blocks.splice(blocks.indexOf(from), 1)
        backend.free(from.address, from.bytes.length)
      } else if (kind === 2 && from !== to) {
        backend.run(list(copy(from.address, to.address, count), copy(to.address, from.address, 1)))
        to.bytes.set(from.bytes.subarray(0, count))
      } else if (kind === 3) {
        backend.run(list(fill(to.address, step, to.bytes.length / 4)))
        new Float32Array(to.bytes.buffer).fill(step)
      } else if (kind === 4) {
        const bytes = Uint8Array.of(step, step >> 8)
        backend.write(to.address + 1, bytes)
        to.bytes.set(bytes, 1)
      } else {
        const expected = from.bytes.slice()
        reads.push(
          readBytes(backend, from.address, expected.length).then((bytes) =>
            assert.deepEqual(bytes, expected),
          ),
        )
        if (below(4) === 0) await reads.at(-1)
      }
    }
    assert.ok(reads.length > 100)
    await Promise.all(reads)
    await backend.close()
  })

  test(`${name}: a list longer than any buffer runs whole`, async () => {
    const backend = open()
    const count = 50_000
    const y = backend.allocate(4 * count)
    backend.run(list(...Array.from({ length: count }, (_, i) => fill(y + 4 * i, i, 1))))
    const values = new Float32Array((await readBytes(backend, y, 4 * count)).buffer)
    assert.deepEqual(
      values,
      Float32Array.from({ length: count }, (_, i) => i),
    )
    await backend.close()
  })

  test(`${name}: memory that is not to be had is a DeviceError, and the device goes on`, async () => {
    const backend = open()
    const refused = (bytes: number) => ({
      name: 'DeviceError',
      message: new RegExp(`^${name}: could not allocate ${bytes} bytes`),
    })
    assert.throws(() => backend.allocate(2 ** 50), refused(2 ** 50))
    const available = backend.availableBytes()
    assert.ok(available > 2 ** 20 && available <= totalmem(), `${available} bytes`)
    const x = backend.allocate(4)
    backend.run(list(fill(x, 1, 1)))
    assert.deepEqual([...(await readBytes(backend, x, 4))], [0, 0, 0x80, 0x3f])
    await backend.close()
  })

  test(`${name}: what is not a record fails every read from then on, with one error`, async () => {
    for (const bad of [[4096, 1, 2], copy(0, 0, 0).slice(0, 3)]) {
      const backend = open()
      const x = backend.allocate(4)
      backend.write(x, Uint8Array.of(5, 6, 7, 8))
      assert.deepEqual([...(await readBytes(backend, x, 4))], [5, 6, 7, 8])
      backend.run(list(fill(x, 0, 1), bad))
      const [pending, other] = await Promise.allSettled([readBytes(backend, x, 4), readBytes(backend, x, 4)])
      const [later] = await Promise.allSettled([readBytes(backend, x, 4)])
      assert.ok(pending.status === 'rejected' && other.status === 'rejected' && later.status === 'rejected')
      assert.ok(pending.reason instanceof DeviceError)
      const size = 4 + bad.length
      assert.equal(
        pending.reason.message,
        `${name}: run: a list must hold whole records of known kernels; received kernel id ${bad[0]} at word 4 of ${size}`,
      )
      assert.equal(other.reason, pending.reason)
      assert.equal(later.reason, pending.reason)
      await backend.close()
    }
  })

  test(`${name}: close waits for what was issued; then nothing works any more`, async () => {
    const backend = open()
    const x = backend.allocate(4)
    backend.run(list(fill(x, 2, 1)))
    const read = readBytes(backend, x, 4)
    const closed = backend.close()
    assert.deepEqual([...(await read)], [0, 0, 0, 0x40])
    await closed
    await backend.close()
    const refused = { name: 'DeviceError', message: `${name}: the device must be open; it was closed` }
    assert.throws(() => backend.allocate(4), refused)
    assert.throws(() => backend.run(list()), refused)
    assert.throws(() => backend.write(x, new Uint8Array(1)), refused)
    await assert.rejects(readBytes(backend, x, 4), refused)
    backend.free(x, 4)
  })

  test(`${name}: the event loop stays free during a long list`, async () => {
    const backend = open()
    const bytes = 2 ** 24
    const x = backend.allocate(bytes)
    const y = backend.allocate(bytes)
    let ticks = 0
    const timer = setInterval(() => ticks++, 1)
    const start = performance.now()
    backend.run(list(...Array.from({ length: 100 }, () => copy(x, y, bytes))))
    const issuedMs = performance.now() - start
    await readBytes(backend, y, 1)
    const totalMs = performance.now() - start
    clearInterval(timer)
    assert.ok(issuedMs < totalMs / 4, `run returned after ${issuedMs} of ${totalMs} ms`)
    assert.ok(ticks > totalMs / 50, `${ticks} ticks of a 1 ms timer in ${totalMs} ms`)
    await backend.close()
  })

  const [kind, isa, suffix] = name.split(/[ -]/)
  const opener =
    kind === 'native'
      ? `openNative({ isa: '${isa}' })`
      : `openWasm({ variant: '${isa}', threads: ${suffix ? 3 : 1} })`
  test(`${name}: a process ends at once when idle, when busy, and when told to`, async () => {
    const idle = `const backend = ${opener}; const x = backend.allocate(4); await backend.read(x, new Uint8Array(4)); console.log('read')`
    for (const [ending, code] of [
      ['', 0],
      ['process.exit(3)', 3],
    ] as const) {
      const ends = await runChild(`${openers}${idle};${ending}`)
      assert.deepEqual([ends.code, ends.stdout, ends.stderr], [code, 'read\n', ''])
      const busy = await runChild(`${openers}${longList(opener)};${ending}`)
      assert.deepEqual([busy.code, busy.stderr], [code, ''])
      assert.ok(busy.ms < 5000, `took ${busy.ms} ms`)
    }
    const pending = await runChild(
      `${openers}${idle.replace('await ', '').replace(';', '; setImmediate(() => {});')}`,
    )
    assert.deepEqual([pending.code, pending.stdout, pending.stderr], [0, 'read\n', ''])
  })
}

test('worker threads use, abandon and are torn from the addon at the same time', {
  skip: !nativeAvailable(),
}, async () => {
  const work = `
    const x = backend.allocate(4096), y = backend.allocate(4096)
    let sum = 0
    for (let i = 1; i <= 200; i++) {
      backend.run(Float64Array.of(${signatures.fill.id}, x, i, 1024, ${signatures.copy.id}, x, y, 4096))
      const target = new Float32Array(1024)
      await backend.read(y, new Uint8Array(target.buffer))
      sum += target[1023]
    }
    require('node:worker_threads').parentPort.postMessage(sum)
  `
  const start = (body: string) => new Worker(`(async () => { ${openers} ${body} })()`, { eval: true })
  const results = [1, 2, 3, 4].map((index) => {
    const worker = start(`const backend = openNative(); ${work}; ${index % 2 ? 'await backend.close()' : ''}`)
    return new Promise((resolve, reject) => {
      let sum: unknown
      worker.on('message', (message) => (sum = message))
      worker.on('error', reject)
      worker.on('exit', (code) => resolve([code, sum]))
    })
  })
  const report = `require('node:worker_threads').parentPort.postMessage('busy')`
  const torn = start(`${longList('openNative()')}; ${report}; await backend.read(x, new Uint8Array(4))`)
  await new Promise((resolve) => torn.on('message', resolve))
  assert.equal(await torn.terminate(), 1)
  // 1 + 2 + … + 200
  assert.deepEqual(
    await Promise.all(results),
    [1, 2, 3, 4].map(() => [0, 20100]),
  )
})

test('a worker that reads without pause can be terminated at any moment', {
  skip: !nativeAvailable(),
}, async () => {
  // Straight to the addon: between its calls V8 has but one moment to notice, so most terminations fall into
  // a call.
  const reads = `
    const addon = require(${JSON.stringify(fileURLToPath(new URL('../../build/lowbit.node', import.meta.url)))})
    const queue = addon.open('${nativeIsas()[0]}', 1)
    const x = addon.allocate(queue, 4), target = new Uint8Array(4)
    require('node:worker_threads').parentPort.postMessage('reading')
    while (addon.read(queue, x, target).then !== null);
  `
  for (let i = 0; i < 20; i++) {
    const worker = new Worker(reads, { eval: true })
    await new Promise((resolve) => worker.on('message', resolve))
    await new Promise((resolve) => setTimeout(resolve, i / 2))
    assert.equal(await worker.terminate(), 1)
  }
})

test('a process whose only use of the addon was in a worker that ended goes on and ends', {
  skip: !nativeAvailable(),
}, async () => {
  const use =
    'const backend = openNative({ threads: 4 }); await backend.read(backend.allocate(4), new Uint8Array(4))'
  const inWorker = `(async () => { ${openers} ${use} })()`
  const ended = await runChild(`
    import { Worker } from 'node:worker_threads'
    for (let i = 0; i < 3; i++) await new Promise((resolve) => new Worker(${JSON.stringify(inWorker)}, { eval: true }).on('exit', resolve))
    await new Promise((resolve) => setTimeout(resolve, 50))
    console.log('done')
  `)
  assert.deepEqual([ended.code, ended.stdout, ended.stderr], [0, 'done\n', ''])
})

test('options that no device has are refused', () => {
  const refused = (message: RegExp) => ({ name: 'DeviceError', message })
  if (nativeAvailable()) {
    assert.throws(
      () => openNative({ isa: 'sse9' }),
      refused(/isa must be one of .* on this CPU; received "sse9"/),
    )
    assert.throws(
      () => openNative({ threads: 0 }),
      refused(/threads must be an integer in 1\.\.256; received 0/),
    )
  } else
    assert.throws(
      () => openNative(),
      refused(/^openNative: there must be a native addon; there is none for /),
    )
  assert.throws(
    () => openWasm({ variant: 'mmx' as 'relaxed' }),
    refused(/variant must be one of .*; received "mmx"/),
  )
  assert.throws(
    () => openWasm({ threads: 65 }),
    refused(/threads must be an integer in 1\.\.64; received 65/),
  )
})

test('wasm: more than 4 GiB is refused when asked for, growth that the engine refuses at the next read', async () => {
  const backend = openWasm({ threads: 1 })
  const x = backend.allocate(3 * 2 ** 30)
  const refused =
    /could not allocate 1073741824 bytes; its memory of 4294967296 bytes is taken up to 3229614080/
  assert.throws(() => backend.allocate(2 ** 30), { name: 'DeviceError', message: refused })
  // The last byte of what was granted is there.
  backend.write(x + 3 * 2 ** 30 - 1, Uint8Array.of(42))
  assert.deepEqual([...(await readBytes(backend, x + 3 * 2 ** 30 - 1, 1))], [42])
  backend.free(x, 3 * 2 ** 30)
  assert.equal(backend.allocate(2 ** 30), x)
  await backend.close()

  const limited = await runChild(
    `${openers}
    const backend = openWasm({ threads: 1 })
    const x = backend.allocate(2 ** 28)
    const results = await Promise.allSettled([backend.read(x, new Uint8Array(4)), backend.read(x, new Uint8Array(4))])
    results.push(...(await Promise.allSettled([backend.read(x, new Uint8Array(4))])))
    console.log(new Set(results.map(({ reason }) => reason)).size, results[2].reason.name, results[2].reason.message)
    await backend.close()`,
    ['--wasm-max-mem-pages=1024'],
  )
  assert.equal(limited.stderr, '')
  assert.match(
    limited.stdout,
    /^1 DeviceError wasm \w+: could not grow memory from 8388608 to 285212672 bytes\n$/,
  )
})
