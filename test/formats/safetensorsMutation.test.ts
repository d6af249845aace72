import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { FormatError } from '../../src/core/errors.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { bytesSource } from '../../src/formats/source.ts'
import { fixtures } from './golden.ts'

/** Of the container; each of the 5 properties below takes its share. */
const cases = Number(process.env.LOWBIT_FUZZ_CASES ?? 10_000)
const numRuns = Math.ceil(cases / 5)
const files = ['dtypes', 'names', 'unsupported', 'quanto-example-qint4', 'empty'].map((name) =>
  readFileSync(`${fixtures}${name}.safetensors`),
)

/**
 * Opens and reads everything; only a FormatError may come out, and no more bytes be asked for than twice the
 * file.
 */
async function survives(bytes: Uint8Array): Promise<void> {
  let requested = 0
  const source = bytesSource(bytes)
  const counted = {
    ...source,
    read: (offset: number, length: number) => {
      requested += length
      return source.read(offset, length)
    },
  }
  try {
    const file = await openSafetensors(counted)
    for (const name of file.tensors.keys()) await file.read(name)
  } catch (error) {
    assert.ok(error instanceof FormatError, `${error}`)
    assert.doesNotMatch(error.message, /\n/)
  }
  assert.ok(requested <= 2 * bytes.length + 8, `${requested} bytes asked of a file of ${bytes.length}`)
}

const file = fc.constantFrom(...files)
const property = (name: string, mutated: fc.Arbitrary<Uint8Array>) => {
  test(`${name}: a FormatError or a file`, { timeout: 120_000 }, () =>
    fc.assert(fc.asyncProperty(mutated, survives), { numRuns }),
  )
}

property(
  'flipped bytes',
  fc
    .tuple(
      file,
      fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 8 }),
    )
    .map(([bytes, flips]) => {
      const mutated = Uint8Array.from(bytes)
      for (const [at, mask] of flips) mutated[at % mutated.length] ^= mask
      return mutated
    }),
)

property(
  'truncated',
  fc.tuple(file, fc.nat()).map(([bytes, at]) => bytes.subarray(0, at % bytes.length)),
)

property(
  'spliced',
  fc
    .tuple(file, file, fc.nat(), fc.nat())
    .map(([a, b, at, from]) => Buffer.concat([a.subarray(0, at % a.length), b.subarray(from % b.length)])),
)

const numbers = [
  '-1',
  '0',
  '1',
  '1e3',
  '1e999',
  '2.5',
  '9007199254740991',
  '9007199254740993',
  '18446744073709551616',
  'NaN',
  'null',
  '"4"',
  '[]',
  '{}',
]

property(
  'numbers in the header changed',
  fc.tuple(file, fc.nat(), fc.constantFrom(...numbers)).map(([bytes, which, number]) => {
    const length = Number(bytes.readBigUInt64LE(0))
    let header = bytes.toString('utf8', 8, 8 + length)
    const places = [...header.matchAll(/(?<=[[,])\d+(?=[\],])/g)]
    if (places.length > 0) {
      const { 0: old, index } = places[which % places.length]
      header = header.slice(0, index) + number + header.slice(index + old.length)
    }
    const prefix = Buffer.alloc(8)
    prefix.writeBigUInt64LE(BigInt(Buffer.byteLength(header)))
    return Buffer.concat([prefix, Buffer.from(header), bytes.subarray(8 + length)])
  }),
)

property('bytes of no file', fc.uint8Array({ maxLength: 200 }))
