import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../../src/devices/open.ts'
import { factorsOf, paley, rotation } from '../../../src/quantize/algorithms/hadamard.ts'
import { deviceNames } from '../../deviceNames.ts'

/** The largest distance of A · Aᵀ from c · 1, for A [n, n]. */
function fromIdentity(A: ArrayLike<number>, n: number, c: number): number {
  let largest = 0
  for (let a = 0; a < n; a++)
    for (let b = 0; b < n; b++) {
      let sum = 0
      for (let k = 0; k < n; k++) sum += A[a * n + k] * A[b * n + k]
      largest = Math.max(largest, Math.abs(sum - (a === b ? c : 0)))
    }
  return largest
}

describe('Hadamard matrices', () => {
  // By both of Paley's constructions, as far as primes go; 4 is Sylvester's, too.
  for (const n of [4, 8, 12, 20, 24, 28, 36, 44, 48, 60, 76])
    test(`of ${n}: ±1 in orthogonal rows`, () => {
      const H = paley(n) ?? []
      assert.ok(H.length === n * n && H.every((entry) => entry === 1 || entry === -1))
      assert.equal(fromIdentity(H, n, n), 0)
    })

  test('of sizes that have none by Paley', () => {
    for (const n of [3, 6, 9, 10, 16, 40, 43, 52, 172]) assert.equal(paley(n), null, `${n}`)
  })

  test('sizes as products', () => {
    assert.deepEqual(factorsOf(64), { odd: 1, power: 64 })
    assert.deepEqual(factorsOf(576), { odd: 36, power: 16 })
    assert.deepEqual(factorsOf(1536), { odd: 12, power: 128 })
    assert.deepEqual(factorsOf(172), { odd: 43, power: 4 })
  })
})

for (const name of deviceNames) {
  describe(`rotations on ${name}`, () => {
    const device = openDevice(name, { threads: 2 })
    after(() => device.close())
    for (const n of [1, 8, 24, 36, 86, 100])
      for (const keepsMean of [false, true])
        test(`of ${n}${keepsMean ? ', which keep means' : ''}`, async () => {
          using R = rotation(device, n, { seed: 3, keepsMean })
          const entries = await R.toNumbers()
          assert.ok(fromIdentity(entries, n, 1) < 1e-6)
          const largest = Math.sqrt(n) * Math.max(...Array.from(entries, Math.abs))
          if (factorsOf(n).odd % 2 === 0 && !keepsMean) assert.ok(Math.abs(largest - 1) < 1e-6, `${largest}`)
          assert.ok(largest < 5, `an entry of ${largest} / √n`)
          if (!keepsMean) return
          const ones = new Float64Array(n)
          for (const [i, entry] of entries.entries()) ones[i % n] += entry
          for (const sum of ones) assert.ok(Math.abs(sum - 1) < 1e-6)
        })

    test('other seeds give others, the same seed the same', async () => {
      const of = async (seed: number) => {
        using R = rotation(device, 24, { seed, keepsMean: false })
        return [...(await R.toNumbers())]
      }
      assert.deepEqual(await of(1), await of(1))
      assert.notDeepEqual(await of(1), await of(2))
    })
  })
}
