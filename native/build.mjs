// Builds what the CPU runs into build/: lowbit.node with the machine's C++ compiler, lowbit-<variant>.wasm
// with clang from npm.
//
//   node native/build.mjs [--native | --wasm] [--require-native]
//   node native/build.mjs --first-run=relaxed          the addon with the best instruction set of this CPU;
//                                                      where it cannot be built, these WebAssembly modules
//   LOWBIT_ISAS=avx512,relaxed node native/build.mjs   these instruction sets, also where the CPU lacks them
//
// Every kernel's .cc and the dispatch made from kernels.def are one translation unit, compiled once per
// instruction set; in a module two, fast and small (flags.mjs). An output whose sources, flags and compiler
// are unchanged (its .stamp) stays; what is neither current nor asked for is removed.
import { mkdirSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { buildAddon } from './buildAddon.mjs'
import { buildModules } from './buildModules.mjs'
import { wasmInstructionSets } from './flags.mjs'
import { build } from './outputs.mjs'

const { values: options } = parseArgs({
  options: {
    native: { type: 'boolean' },
    wasm: { type: 'boolean' },
    'require-native': { type: 'boolean' },
    'first-run': { type: 'string' },
  },
})
const firstRun = options['first-run']
const asked = process.env.LOWBIT_ISAS?.split(',')
const isAsked = (name) => asked?.includes(name) ?? true

mkdirSync(build, { recursive: true })
const problem = await buildAddon((names, runs, best) =>
  options.wasm ? [] : firstRun ? best : asked ? names.filter(isAsked) : runs,
)
if (problem && !options.wasm) {
  console.error(`lowbit: ${problem}`)
  if (options['require-native']) process.exitCode = 1
}
try {
  const sets = Object.keys(wasmInstructionSets).filter((set) =>
    firstRun ? problem && set === firstRun : isAsked(set),
  )
  await buildModules(options.native ? [] : sets)
} catch (error) {
  console.error(`lowbit: ${error.message}`)
  process.exitCode = 1
}
