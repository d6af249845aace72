import assert from 'node:assert/strict'
import { Staging } from '../../src/checkpoints/staging.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from '../tensor/devices.ts'

const megabyte = 2 ** 20

/** Rows of bytes that say where they are: byte j of row i is i + 7j. */
const rowsOf = (start: number, end: number, rowBytes: number) => {
  const bytes = new Uint8Array((end - start) * rowBytes)
  for (let i = start; i < end; i++)
    for (let j = 0; j < rowBytes; j++) bytes[(i - start) * rowBytes + j] = i + 7 * j
  return bytes
}

for (const [label, rows, rowBytes] of [
  ['rows of odd length in several pieces', 5000, 3001],
  ['rows longer than a piece', 3, 5 * megabyte + 1],
  ['one short row', 1, 3],
] as const)
  testOnDevices(`bytes pass in pieces and come whole: ${label}`, async (device) => {
    const staging = new Staging()
    const tensor = Tensor.empty(device, [rows * rowBytes], 'uint8')
    const asked: [number, number][] = []
    const buffers = new Set<ArrayBufferLike>()
    await staging.upload(tensor, rows, rowBytes, async (start, end, into) => {
      asked.push([start, end])
      buffers.add(into.buffer)
      into.set(rowsOf(start, end, rowBytes))
      return into.subarray(0, (end - start) * rowBytes)
    })
    assert.deepEqual(
      asked.map(([start]) => start),
      [0, ...asked.slice(0, -1).map(([, end]) => end)],
    )
    assert.equal(asked.at(-1)?.[1], rows)
    if (rowBytes < 4 * megabyte) {
      assert.ok(asked.every(([start, end]) => (end - start) * rowBytes <= 4 * megabyte))
      assert.ok(buffers.size <= 4, `${buffers.size} buffers`)
    }
    assert.deepEqual(await tensor.read(), rowsOf(0, rows, rowBytes))
    tensor.dispose()
  })

testOnDevices('a read that fails gives its buffer back', async (device) => {
  const staging = new Staging()
  const tensor = Tensor.empty(device, [8], 'uint8')
  const failing = () => Promise.reject(new Error('no more'))
  // More often than there are buffers: the last would wait for ever.
  for (let i = 0; i < 6; i++)
    await assert.rejects(staging.upload(tensor, 1, 8, failing), { message: 'no more' })
  await staging.upload(tensor, 1, 8, async () => Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8))
  assert.deepEqual([...(await tensor.read())], [1, 2, 3, 4, 5, 6, 7, 8])
  tensor.dispose()
})
