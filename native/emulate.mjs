// Runs the kernels' cases with instructions that this machine lacks: ARM's in qemu's emulator (on an ARM
// machine as they are), AVX-512 and AVX-VNNI on a processor with AVX2, where native/emulated writes out what
// they compute, lane by lane.
//
//   node native/emulate.mjs [neon] [avx512] [avxvnni]       without a name neon
//   LOWBIT_KERNELS=gemm,conv2d node native/emulate.mjs      only the cases of these kernels
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readKernels, unitSource } from './def.mjs'
import { commonFlags, instructionSets, kernelFlags } from './flags.mjs'
import { recordCases } from './recordCases.mjs'
import { installZig, zig } from './zig.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = join(root, 'build/emulate')
const [kernels, driver, cases] = ['kernels', 'driver', 'cases.bin'].map((name) => join(folder, name))
const programs = ['native/driver.cc', 'native/parallel.cc']

const builds = { neon: buildArm, avx512: buildX64, avxvnni: buildX64 }
const names = process.argv.length > 2 ? process.argv.slice(2) : ['neon']
for (const name of names)
  if (!(name in builds)) fail(`takes ${Object.keys(builds).join(', ')}; received ${name}`)

mkdirSync(folder, { recursive: true })
recordCases(cases)
writeFileSync(`${kernels}.cc`, unitSource(readKernels()))
for (const name of names) {
  const command = await builds[name](name)
  console.log(`emulate: ${name}`)
  run(command[0], [...command.slice(1), cases, '2'])
}

/** Builds the driver with zig, and returns the command that runs it. */
async function buildArm(name) {
  const emulators = process.arch === 'arm64' ? ['env'] : ['qemu-aarch64-static', 'qemu-aarch64']
  const emulator = emulators.find((command) => spawnSync(command, ['--version']).status === 0)
  if (!emulator) fail('qemu-aarch64 must be installed (Debian: qemu-user-static)')
  await installZig()
  const isa = `-DLOWBIT_ISA=isa_${name}`
  const target = ['-target', 'aarch64-linux-musl', '-g0', '-fno-sanitize=all', ...commonFlags, isa]
  const flags = [...kernelFlags, ...instructionSets.arm64[name]]
  await zig('c++', ...target, ...flags, '-c', `${kernels}.cc`, '-o', `${kernels}.o`)
  await zig('c++', ...target, '-static', '-pthread', ...programs, `${kernels}.o`, '-o', driver)
  return [emulator, driver]
}

/** Builds the driver with the machine's compiler, likewise. */
function buildX64(name) {
  if (process.arch !== 'x64') fail(`${name} must run on a processor with AVX2`)
  run(process.env.CXX ?? 'c++', [
    ...['-std=c++17', '-O1', '-ffp-contract=off', '-fno-math-errno', '-Wno-psabi', '-Wno-ignored-attributes'],
    ...['-I.', '-Inative', '-pthread', ...instructionSets.x64.avx2],
    ...['-include', `native/emulated/${name}.h`, `-DLOWBIT_ISA=isa_${name}`],
    ...[`${kernels}.cc`, ...programs, '-o', driver],
  ])
  return [driver]
}

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' })
  if (error) throw error
  if (status !== 0) process.exit(1)
}

function fail(message) {
  console.error(`emulate: ${message}`)
  process.exit(1)
}
