// Runs the kernels' cases under the sanitizers of the machine's C++ compiler, and once more with the tasks of
// each kernel in descending order (native/descending.cc):
//
//   node native/sanitize.mjs [address,undefined] [thread] [descending]
//   LOWBIT_KERNELS=gemm,conv2d node native/sanitize.mjs      only the cases of these kernels
//   LOWBIT_ISA=avx512 node native/sanitize.mjs               with this instruction set, not AVX2 or NEON
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readKernels, unitSource } from './def.mjs'
import { instructionSets } from './flags.mjs'
import { recordCases } from './recordCases.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = join(root, 'build', 'sanitize')
const threads = 4

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' })
  if (error) throw error
  if (status !== 0) process.exit(1)
}

recordCases(join(folder, 'cases.bin'))
writeFileSync(join(folder, 'kernels.cc'), unitSource(readKernels()))

const isa = process.env.LOWBIT_ISA ?? { x64: 'avx2', arm64: 'neon' }[process.arch]
const isaFlags = instructionSets[process.arch]?.[isa]
if (!isaFlags)
  throw new Error(`sanitize: LOWBIT_ISA must be an instruction set of ${process.arch}; received ${isa}`)
const kinds = process.argv.length > 2 ? process.argv.slice(2) : ['address,undefined', 'thread', 'descending']
const flags = [
  '-std=c++17',
  '-O1',
  '-g1',
  '-ffp-contract=off',
  '-fno-math-errno',
  '-Wno-psabi',
  '-I.',
  '-Inative',
  '-pthread',
  ...isaFlags,
  `-DLOWBIT_ISA=isa_${isa}`,
]
for (const kind of kinds) {
  const program = join(folder, kind.replaceAll(',', '-'))
  const descending = kind === 'descending'
  run(process.env.CXX ?? 'c++', [
    ...flags,
    ...(descending ? [] : [`-fsanitize=${kind}`, '-fno-sanitize-recover=all']),
    join(folder, 'kernels.cc'),
    'native/driver.cc',
    descending ? 'native/descending.cc' : 'native/parallel.cc',
    '-o',
    program,
  ])
  console.log(`sanitize: ${kind}, ${isa}, ${threads} threads`)
  run(program, [join(folder, 'cases.bin'), String(threads)])
}
