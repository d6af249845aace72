import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Alibi, alibiSlopes } from '../../src/nn/alibi.ts'
import { testOnDevices } from '../tensor/devices.ts'

test('slopes of a power of two of heads, and those between', () => {
  assert.deepEqual([...alibiSlopes(4)], [1 / 4, 1 / 16, 1 / 64, 1 / 256])
  assert.deepEqual([...alibiSlopes(6)], [1 / 4, 1 / 16, 1 / 64, 1 / 256, 1 / 2, 1 / 8])
  assert.deepEqual([...alibiSlopes(1)], [1 / 256])
})

testOnDevices('biases grow with the position, scaled and rounded where it is asked for', async (device) => {
  const alibi = new Alibi({ heads: 2, scale: 2, dtype: 'bfloat16' })
  alibi.prepare(device, 3)
  alibi.prepare(device, 260)
  assert.deepEqual(alibi.bias.shape, [2, 1, 260])
  const values = await alibi.bias.toNumbers()
  // Of eight bits 257 is 256, and 259 is 260.
  assert.deepEqual(
    [0, 1, 2, 257, 259].map((j) => values[j]),
    [0, 1 / 8, 1 / 4, 32, 32.5],
  )
  assert.equal(values[260 + 1], 2 / 256)
  alibi.dispose()
})
