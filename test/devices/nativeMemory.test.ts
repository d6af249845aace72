import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
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
