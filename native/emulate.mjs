// Runs the kernels' cases with ARM's instructions: in qemu's emulator, or on an ARM machine as they are.
//
//   node native/emulate.mjs
//   LOWBIT_KERNELS=gemm,conv2d node native/emulate.mjs      only the cases of these kernels
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readKernels, unitSource } from './def.mjs'
import { commonFlags, instructionSets, kernelFlags } from './flags.mjs'
import { recordCases } from './recordCases.mjs'
import { installZig, zig } from './zig.mjs'

const folder = fileURLToPath(new URL('../build/emulate', import.meta.url))
const emulators = process.arch === 'arm64' ? ['env'] : ['qemu-aarch64-static', 'qemu-aarch64']
const emulator = emulators.find((command) => spawnSync(command, ['--version']).status === 0)
if (!emulator) {
  console.error('emulate: qemu-aarch64 must be installed (Debian: qemu-user-static)')
  process.exit(1)
}

await installZig()
mkdirSync(folder, { recursive: true })
const kernels = join(folder, 'kernels')
const driver = join(folder, 'driver')
const target = ['-target', 'aarch64-linux-musl', '-g0', '-fno-sanitize=all', ...commonFlags]
recordCases(join(folder, 'cases.bin'))
writeFileSync(`${kernels}.cc`, unitSource(readKernels()))
for (const [name, flags] of Object.entries(instructionSets.arm64)) {
  const isa = `-DLOWBIT_ISA=isa_${name}`
  await zig('c++', ...target, ...kernelFlags, ...flags, isa, '-c', `${kernels}.cc`, '-o', `${kernels}.o`)
  await zig(
    'c++',
    ...target,
    isa,
    '-static',
    '-pthread',
    'native/driver.cc',
    'native/parallel.cc',
    `${kernels}.o`,
    '-o',
    driver,
  )
  console.log(`emulate: ${name}`)
  const { status } = spawnSync(emulator, [driver, join(folder, 'cases.bin'), '2'], { stdio: 'inherit' })
  if (status !== 0) process.exit(1)
}
