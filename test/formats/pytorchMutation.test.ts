import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FormatError } from '../../src/core/errors.ts'
import { openPyTorch } from '../../src/formats/pytorch.ts'
import { bytesSource } from '../../src/formats/source.ts'
import { files } from './pytorchFiles.ts'

/** Of the container; each of the 6 properties below takes its share. */
const cases = Number(process.env.LOWBIT_FUZZ_CASES ?? 10_000)
const numRuns = Math.ceil(cases / 6)

/**
 * Opens and reads everything; only a FormatError may come out, in a short time, and no more bytes be asked
 * for than a few times the file: its directory and its pickles once, what views span once for each.
 */
async function survives(bytes: Uint8Array): Promise<void> {
  let [requested, open] = [0, true]
  const inner = bytesSource(bytes, 'x.pt')
  const counted = {
    ...inner,
    read(offset: number, length: number) {
      requested += length
      return inner.read(offset, length)
    },
    async close() {
      open = false
    },
  }
  const started = performance.now()
  let tensors = 0
  try {
    const file = await openPyTorch(counted)
    tensors = file.tensors.size
    try {
      for (const name of file.tensors.keys()) {
        const values = await file
          .read(name)
          .catch((error: unknown) => assert.ok(error instanceof FormatError, `${(error as Error).stack}`))
        if (values) assert.equal(values.length, file.tensors.get(name)?.byteLength)
      }
    } finally {
      await file.close()
    }
  } catch (error) {
    assert.ok(error instanceof FormatError, `${(error as Error).stack}`)
    assert.doesNotMatch(error.message, /\n/)
    assert.ok(error.message.length < 2000, error.message)
  }
  assert.equal(open, false, 'the file is closed')
  assert.ok(
    requested <= (4 + tensors) * bytes.length + 65536,
    `${requested} bytes asked of a file of ${bytes.length}`,
  )
  assert.ok(performance.now() - started < 5000, 'it takes no time')
}

const file = fc.constantFrom(...files.values())
const property = (name: string, mutated: fc.Arbitrary<Uint8Array>) => {
  test(`${name}: a FormatError or a file`, { timeout: 240_000 }, () =>
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

/** Where a file's pickle lies: behind its first header in an archive, at the start of the old form. */
const pickleBytes = 2500

property(
  'opcodes changed',
  fc
    .tuple(
      file,
      fc.array(
        fc.tuple(
          fc.nat(),
          fc.constantFrom(...'(NJKMXU)]}te.asuhqjrcRbQ0ioP\x80\x81\x82\x85\x86\x87\x88\x8a\x8c\x93\x94'),
        ),
        { minLength: 1, maxLength: 4 },
      ),
    )
    .map(([bytes, changes]) => {
      const mutated = Uint8Array.from(bytes)
      for (const [at, opcode] of changes)
        mutated[at % Math.min(pickleBytes, mutated.length)] = opcode.charCodeAt(0)
      return mutated
    }),
)

property(
  'numbers of 32 bits changed',
  fc
    .tuple(file, fc.nat(), fc.constantFrom(0, 1, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff))
    .map(([bytes, at, value]) => {
      const mutated = Buffer.from(bytes)
      mutated.writeUInt32LE(value, at % (mutated.length - 4))
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

property('bytes of no file', fc.uint8Array({ maxLength: 200 }))
