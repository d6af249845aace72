// How the C++ is compiled: instruction sets and flags, for build.mjs (this machine, WebAssembly) and
// prebuild.mjs (all platforms).
import { readKernels, unitSource } from './def.mjs'

/** Flags of every translation unit. */
export const commonFlags = [
  '-std=c++17',
  '-O3',
  '-ffp-contract=off',
  '-fno-math-errno',
  '-I.',
  '-Inative',
  '-DNAPI_VERSION=8',
]

/** Flags of the kernels, beside those of their instruction set. */
export const kernelFlags = ['-fno-exceptions', '-fno-rtti', '-Wno-psabi']

const avx2 = ['-mavx2', '-mfma', '-mf16c', '-mbmi2']

/**
 * Compiler flags of each instruction set, by processor; the names are those of addon.cc. SSE4.2 is for
 * processors from before 2013: a smaller package counts more than their speed.
 */
export const instructionSets = {
  x64: {
    sse4: ['-msse4.2', '-mpopcnt', '-Os'],
    avx2,
    avx512: [...avx2, '-mavx512f', '-mavx512bw', '-mavx512vl', '-mavx512dq', '-mavx512vnni', '-mavx512bf16'],
  },
  arm64: { neon: [] },
}

/**
 * What differs from another instruction set in some kernels only; that one runs the rest. Left out where the
 * compiler does not know it.
 */
export const extensions = {
  x64: { avxvnni: { base: 'avx2', flags: [...avx2, '-mavxvnni'], kernels: ['qmatmulInt8', 'conv2dInt8'] } },
}

/**
 * The addon's translation units with the instruction sets and extensions of these names: `{ name, flags, path
 * }`, or `{ name, flags, text }` of what is made here.
 */
export function addonUnits(processor, names) {
  const unit = (name, flags, text) => ({
    name,
    flags: [...kernelFlags, ...flags, `-DLOWBIT_ISA=isa_${name}`],
    text,
  })
  const included = ([name]) => names.includes(name)
  const sets = Object.entries(instructionSets[processor]).filter(included)
  const extended = Object.entries(extensions[processor] ?? {}).filter(included)
  return [
    ...sets.map(([name, flags]) => unit(name, flags, unitSource(readKernels()))),
    ...extended.map(([name, { base, flags, kernels }]) =>
      unit(name, flags, unitSource(readKernels(), kernels, base)),
    ),
    {
      name: 'addon',
      flags: names.map((name) => `-DLOWBIT_HAS_${name.toUpperCase()}`),
      path: 'native/addon.cc',
    },
    { name: 'parallel', flags: [], path: 'native/parallel.cc' },
  ]
}

/** Instruction sets of WebAssembly: without and with relaxed SIMD. */
export const wasmInstructionSets = {
  simd128: ['-msimd128'],
  relaxed: ['-msimd128', '-mrelaxed-simd'],
}

/** Flags of everything in a WebAssembly module. */
export const wasmFlags = [
  ...['--target=wasm32-unknown-unknown', '-ffreestanding', '-nostdlib', '-nostdinc++', '-fvisibility=hidden'],
  ...['-mbulk-memory', '-matomics'],
]

/**
 * Kernels that are as small as may be in WebAssembly modules, which pages load: they run once for each weight
 * that is quantized, read or written, or are a small part of a step.
 */
const smallKernels = [
  ...['hqqShift', 'magnitudeHistogram', 'nestScale', 'quantizeBlocks', 'quantizeCodebook', 'unnestScale'],
  ...['packBlocks', 'packCodes', 'permuteColumns', 'tilePack', 'tileUnpack', 'unpackBlocks', 'unpackCodes'],
  ...['klDivergence', 'qembedding'],
]

/** The translation units of a module's kernels as `{ name, flags, text }`: the fast ones, the small ones. */
export function moduleUnits(set) {
  const kernels = readKernels()
  const fast = kernels.map(({ name }) => name).filter((name) => !smallKernels.includes(name))
  const unit = (name, isa, flags, text) => ({
    name,
    flags: [
      ...commonFlags,
      ...kernelFlags,
      ...wasmFlags,
      ...wasmInstructionSets[set],
      ...flags,
      `-DLOWBIT_ISA=isa_${isa}`,
    ],
    text,
  })
  return [
    unit('kernels', set, [], unitSource(kernels, fast, `${set}_small`)),
    unit('small', `${set}_small`, ['-Oz'], unitSource(kernels, smallKernels)),
  ]
}

const linkFlags = (flags) => flags.map((flag) => `-Wl,${flag}`)

// Memory comes from JavaScript, which chooses how far it may grow; the stack lies lowest, so that overflowing
// it traps.
const wasmLinkFlags = [
  ...linkFlags([
    '--no-entry',
    '--import-memory',
    '--max-memory=4294967296',
    '--stack-first',
    '--strip-all',
    '--export=__heap_base',
  ]),
  '-Wl,-z,stack-size=1048576',
]

/**
 * The modules of each instruction set, by suffix: for one thread, and for several on a shared memory, which
 * set themselves up in it.
 */
export const wasmVariants = {
  '': wasmLinkFlags,
  '-threads': [
    ...['-DLOWBIT_THREADS', ...wasmLinkFlags],
    ...linkFlags([
      '--shared-memory',
      '--export=__stack_pointer',
      '--export=__wasm_init_tls',
      '--export=__tls_size',
    ]),
  ],
}
