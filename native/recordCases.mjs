// Writes the kernels' cases for driver.cc to replay.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { Random } from '../src/core/random.ts'
import { cases } from '../src/kernels/cases.ts'
import { definitions } from '../src/kernels/definitions.ts'
import { signatures } from '../src/kernels/signatures.ts'
import { readKernels } from './def.mjs'

const bytesOf = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength)
const words = (...values) => bytesOf(Float64Array.from(values))
const padded = (bytes) => [bytes, Buffer.alloc((8 - (bytes.length % 8)) % 8)]

/** One case as driver.cc reads it. */
function record(kernel, { name, args: makeArgs, tolerance }) {
  const given = makeArgs(new Random(1))
  const expected = given.map((arg) => (ArrayBuffer.isView(arg) ? arg.slice() : arg))
  definitions[kernel](...expected)
  const { id, args } = signatures[kernel]
  const label = Buffer.from(`${kernel} ${name}`)
  const parts = [words(label.length, id, args.length), ...padded(label)]
  for (const [index, { direction }] of args.entries()) {
    const value = given[index]
    if (value === null || typeof value === 'number') parts.push(words(0, value ?? 0))
    else if (direction === 'in') parts.push(words(1, value.byteLength), ...padded(bytesOf(value)))
    else {
      const bound = tolerance(expected, index)
      const bounds = bound === 'exact' ? [] : typeof bound === 'number' ? [bound] : bound
      parts.push(
        words(2, value.byteLength, value instanceof Float32Array ? 1 : 0, bounds.length),
        ...padded(bytesOf(value)),
      )
      parts.push(...padded(bytesOf(expected[index])), words(...bounds))
    }
  }
  return Buffer.concat(parts)
}

/** Records the cases of the kernels that LOWBIT_KERNELS names (default: all). */
export function recordCases(file) {
  const names = process.env.LOWBIT_KERNELS?.split(',')
  const chosen = readKernels().filter(({ name }) => names?.includes(name) ?? true)
  const recorded = chosen.flatMap(({ name }) => cases[name].map((testCase) => record(name, testCase)))
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, Buffer.concat(recorded))
}
