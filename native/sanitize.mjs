// Runs the kernels' cases under the sanitizers of the machine's C++ compiler:
//
//   node native/sanitize.mjs [address,undefined] [thread]
//   LOWBIT_KERNELS=gemm,conv2d node native/sanitize.mjs      only the cases of these kernels
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Random } from '../src/core/random.ts'
import { cases } from '../src/kernels/cases.ts'
import { definitions } from '../src/kernels/definitions.ts'
import { signatures } from '../src/kernels/signatures.ts'
import { readKernels, unitSource } from './def.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = join(root, 'build', 'sanitize')
const threads = 4

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
      parts.push(words(2, value.byteLength, value instanceof Float32Array ? 1 : 0, bounds.length), ...padded(bytesOf(value)))
      parts.push(...padded(bytesOf(expected[index])), words(...bounds))
    }
  }
  return Buffer.concat(parts)
}

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' })
  if (error) throw error
  if (status !== 0) process.exit(1)
}

mkdirSync(folder, { recursive: true })
const kernels = readKernels()
writeFileSync(join(folder, 'kernels.cc'), unitSource(kernels))
const chosen = process.env.LOWBIT_KERNELS?.split(',')
const replayed = kernels.filter(({ name }) => chosen?.includes(name) ?? true)
const recorded = replayed.flatMap(({ name }) => cases[name].map((testCase) => record(name, testCase)))
writeFileSync(join(folder, 'cases.bin'), Buffer.concat(recorded))

const target = process.arch === 'x64' ? ['-DLOWBIT_ISA=isa_avx2', '-mavx2', '-mfma', '-mf16c', '-mbmi2'] : ['-DLOWBIT_ISA=isa_neon']
const sanitizers = process.argv.length > 2 ? process.argv.slice(2) : ['address,undefined', 'thread']
const flags = ['-std=c++17', '-O1', '-g', '-ffp-contract=off', '-fno-math-errno', '-Wno-psabi', '-I.', '-Inative', '-pthread', ...target]
const files = [join(folder, 'kernels.cc'), 'native/driver.cc', 'native/parallel.cc']
for (const sanitizer of sanitizers) {
  const program = join(folder, sanitizer.replaceAll(',', '-'))
  run(process.env.CXX ?? 'c++', [...flags, `-fsanitize=${sanitizer}`, '-fno-sanitize-recover=all', ...files, '-o', program])
  console.log(`sanitize: ${sanitizer}, ${threads} threads`)
  run(program, [join(folder, 'cases.bin'), String(threads)])
}
