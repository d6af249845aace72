import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { release } from 'node:os'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { nativeAvailable } from '../../src/devices/cpu/native.ts'
import { signatures } from '../../src/kernels/signatures.ts'

const native = JSON.stringify(new URL('../../src/devices/cpu/native.ts', import.meta.url).href)

test('blocks a little longer than a huge page take hardly more memory than they hold', {
  skip: !nativeAvailable() && 'no addon',
}, async () => {
  // 40 blocks of 2.25 MB: 90 MB, of two huge pages each 160 MB. In a process of its own, which does nothing
  // else.
  const script = `
    const { openNative } = await import(${native})
    const backend = openNative()
    const [bytes, before] = [2.25 * 2 ** 20, process.memoryUsage.rss()]
    for (let i = 0; i < 40; i++)
      backend.run(Float64Array.of(${signatures.fill.id}, backend.allocate(bytes), 1, bytes / 4))
    await backend.read(backend.allocate(64), new Uint8Array(1))
    console.log(process.memoryUsage.rss() - before)
    await backend.close()
  `
  const args = ['--conditions=lowbit-source', '--input-type=module', '-e', script]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  const taken = Number(stdout) / 2 ** 20
  assert.ok(taken >= 90 && taken < 120, `${taken} MB`)
})

test('what is populated is memory before it is written, no more, and holds what is written', {
  skip: !nativeAvailable() && 'no addon',
}, async () => {
  // Of 20 blocks of 16 MB half are freed at once, and the first 6 MB populated of all. Linux can since 5.14.
  const script = `
    const { openNative } = await import(${native})
    const backend = openNative()
    const before = process.memoryUsage.rss()
    const taken = () => (process.memoryUsage.rss() - before) / 2 ** 20
    const blocks = Array.from({ length: 20 }, () => backend.allocate(2 ** 24))
    for (const [i, block] of blocks.entries()) {
      backend.populate(block, 6 * 2 ** 20)
      backend.write(block + 5 * 2 ** 20, new Uint8Array(64).fill(i))
      if (i % 2) backend.free(block, 2 ** 24)
    }
    const read = new Uint8Array(64)
    for (const [i, block] of blocks.entries()) {
      if (i % 2) continue
      await backend.read(block + 5 * 2 ** 20, read)
      if (read.some((value) => value !== i)) throw new Error('block ' + i + ' holds ' + read)
    }
    for (let wait = 0; wait < 1000 && taken() < 60; wait++) await new Promise((done) => setTimeout(done, 5))
    console.log(taken())
    await backend.close()
  `
  const args = ['--conditions=lowbit-source', '--input-type=module', '-e', script]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  const taken = Number(stdout)
  const [major, minor] = release().split('.').map(Number)
  const populates = process.platform === 'linux' && (major > 5 || (major === 5 && minor >= 14))
  assert.ok(taken >= (populates ? 60 : 0) && taken < 90, `${taken} MB`)
})
