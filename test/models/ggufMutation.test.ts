import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { FormatError } from '../../src/core/errors.ts'
import { openDevice } from '../../src/devices/open.ts'
import { type ByteSource, bytesSource } from '../../src/formats/source.ts'
import { planGguf } from '../../src/models/ggufPlan.ts'
import { fixtures } from '../formats/ggufBytes.ts'
import { golden } from '../golden.ts'

/** Of the container; each of the 4 properties below takes its share. */
const cases = Number(process.env.LOWBIT_FUZZ_CASES ?? 10_000)
const numRuns = Math.ceil(cases / 4)
/** Of every number of bits, with scales in codes and without. */
const files = [
  ...['stories260K-q4_0', 'stories260K-q5_1', 'bytelevel'].map((name) => `${fixtures}${name}.gguf`),
  ...['q2_k', 'q4_k', 'q6_k'].map((type) =>
    join(golden, `shakespeare-gpt2-1M/gguf-${type}/shakespeare-gpt2-1M-${type}.gguf`),
  ),
].map((path) => readFileSync(path))
/** Where the tensors of the first files begin; most of what can go wrong lies before. */
const headerBytes = 14336

const device = openDevice('cpu', { threads: 1 })
after(() => device.close())

/**
 * Plans and loads a file; only a FormatError may come out, in a short time, and no more bytes be asked for
 * than twice the file.
 */
async function survives(bytes: Uint8Array): Promise<void> {
  let requested = 0
  let open = true
  const inner = bytesSource(bytes)
  const source: ByteSource = {
    ...inner,
    read(offset, length) {
      requested += length
      return inner.read(offset, length)
    },
    async close() {
      open = false
    },
  }
  const started = performance.now()
  try {
    const plan = await planGguf(source)
    // A head that shares the embedding's blocks reads them once more.
    try {
      for (const { load } of plan.parameters) (await load(device)).dispose()
    } finally {
      await plan.close()
    }
  } catch (error) {
    assert.ok(error instanceof FormatError, `${(error as Error).stack}`)
    assert.doesNotMatch(error.message, /\n/)
    assert.ok(error.message.length < 2000, error.message)
  }
  assert.equal(open, false, 'the file is closed')
  assert.ok(requested <= 2 * bytes.length, `${requested} bytes asked of a file of ${bytes.length}`)
  assert.ok(performance.now() - started < 5000, 'it takes no time')
}

const file = fc.constantFrom(...files)
const property = (name: string, mutated: fc.Arbitrary<Uint8Array>) => {
  test(`${name}: a FormatError or a model`, { timeout: 240_000 }, () =>
    fc.assert(fc.asyncProperty(mutated, survives), { numRuns }),
  )
}
/** A place in the header mostly, else anywhere. */
const place = fc.oneof({ weight: 4, arbitrary: fc.nat(headerBytes - 1) }, { weight: 1, arbitrary: fc.nat() })

property(
  'flipped bytes',
  fc
    .tuple(file, fc.array(fc.tuple(place, fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 8 }))
    .map(([bytes, flips]) => {
      const mutated = Uint8Array.from(bytes)
      for (const [at, mask] of flips) mutated[at % mutated.length] ^= mask
      return mutated
    }),
)

property(
  'numbers changed',
  fc
    .tuple(
      file,
      place,
      fc.constantFrom(
        0n,
        1n,
        2n,
        31n,
        2n ** 16n,
        2n ** 31n,
        2n ** 32n - 1n,
        2n ** 53n,
        2n ** 60n,
        2n ** 63n,
        2n ** 64n - 1n,
      ),
      fc.boolean(),
    )
    .map(([bytes, at, value, wide]) => {
      const mutated = Buffer.from(bytes)
      const offset = at % (mutated.length - 8)
      if (wide) mutated.writeBigUInt64LE(value, offset)
      else mutated.writeUInt32LE(Number(value & 0xffffffffn), offset)
      return mutated
    }),
)

property(
  'truncated',
  fc.tuple(file, place).map(([bytes, at]) => bytes.subarray(0, at % bytes.length)),
)

property(
  'spliced',
  fc
    .tuple(file, file, place, place)
    .map(([a, b, at, from]) => Buffer.concat([a.subarray(0, at % a.length), b.subarray(from % b.length)])),
)
