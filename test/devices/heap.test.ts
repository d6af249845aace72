import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Heap } from '../../src/devices/cpu/heap.ts'

test('heap: best fit, aligned, and neighbours coalesce', () => {
  const heap = new Heap(4096, 8192)
  const [a, b, c, d] = [100, 64, 65, 64].map((bytes) => heap.allocate(bytes))
  assert.deepEqual([a, b, c, d], [4096, 4224, 4288, 4416])
  assert.equal(heap.end, 4480)
  assert.ok(heap.release(4096) && heap.release(4288))
  assert.equal(heap.release(4288), false)
  // Both free blocks hold 128 bytes; the first is taken, then the rest of the second.
  assert.equal(heap.allocate(128), 4096)
  assert.equal(heap.allocate(1), 4288)
  assert.ok(heap.release(4096) && heap.release(4288) && heap.release(4224))
  assert.equal(heap.allocate(320), 4096)
  // From 4480 to 8192 there are 3712 bytes; freed at the end, they serve a larger block.
  assert.equal(heap.allocate(3713), null)
  assert.equal(heap.allocate(3712), 4480)
  assert.equal(heap.end, 8192)
  assert.equal(heap.allocate(1), null)
})

test('heap: what is free is counted, and can be given up at the end', () => {
  const heap = new Heap(4096, 8192)
  const [a, b] = [heap.allocate(64), heap.allocate(128)]
  assert.deepEqual(heap.availableBytes, { reused: 0, unused: 3904 })
  heap.release(a ?? 0)
  assert.deepEqual(heap.availableBytes, { reused: 64, unused: 3904 })
  // Below 4288 there is a block in use: only what was freed above it can go.
  heap.allocate(1000)
  heap.release(4288)
  assert.deepEqual([heap.end, heap.availableBytes], [5312, { reused: 1088, unused: 2880 }])
  heap.lowerEnd(4096)
  assert.deepEqual([heap.end, heap.availableBytes], [4288, { reused: 64, unused: 3904 }])
  heap.limitTo(4352)
  assert.deepEqual([heap.allocate(65), heap.allocate(64), heap.allocate(64)], [null, 4096, 4288])
  assert.equal(heap.release(b ?? 0), true)
})
