// Builds what the CPU runs into build/: lowbit.node with the machine's C++ compiler, lowbit-<variant>.wasm with clang from npm.
//
//   node native/build.mjs [--native | --wasm] [--require-native]
//   LOWBIT_ISAS=avx512,relaxed node native/build.mjs      only these instruction sets, while developing
//
// Every kernel's .cc and the dispatch made from kernels.def are one translation unit, compiled once per instruction set. An output
// whose sources, flags and compiler are unchanged (its .stamp) stays; a new one replaces the old in one step.
import { execFile, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { freemem } from 'node:os'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { readKernels, unitSource } from './def.mjs'
import {
  addonUnits,
  commonFlags,
  extensions,
  instructionSets,
  kernelFlags,
  wasmFlags,
  wasmInstructionSets,
  wasmVariants,
} from './flags.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const build = join(root, 'build')
const require = createRequire(import.meta.url)

/** The translation unit, where the compilers of WebAssembly modules see it. */
const unit = 'build/generated/kernels.cc'

/** Below this the modules keep stack and data; src/devices/cpu/wasmMemory.ts says the same, and the heap lies above. */
const wasmHeapStart = 8 * 2 ** 20

/** What a thread's variables may take; src/devices/cpu/wasmWorker.ts leaves as much for its stack. */
const wasmVariablesLimit = 2 ** 19

/** What one run of the npm clang takes. */
const compilerBytes = 2 ** 30

const nativeSources = ['addon.cc', 'cpu.h', 'memory.h', 'parallel.cc', 'parking.h', 'pool.h', 'queue.h']
const wasmSources = ['parking.h', 'pool.h', 'wasm.cc']

const chosenSets = process.env.LOWBIT_ISAS?.split(',')
const chosen = (name) => chosenSets?.includes(name) ?? true

/** The kernels, the translation unit made of them, and these files of native/: texts by path from the root. */
function readSources(names) {
  const kernels = readdirSync(join(root, 'src/kernels'), { recursive: true }).filter((name) => /\.(cc|h)$/.test(name))
  const paths = kernels.map((name) => `src/kernels/${name.replaceAll('\\', '/')}`)
  paths.push(...['floats.h', 'panel.h', 'parallel.h', 'simd.h', ...names].map((name) => `native/${name}`))
  const sources = { [unit]: unitSource(readKernels()) }
  for (const path of paths.sort()) {
    // The npm clang's file system knows no "..", so includes are spelled from the root.
    const fromRoot = (_, to) => `#include "${posix.join(dirname(path), to)}"`
    sources[path] = readFileSync(join(root, path), 'utf8').replace(/^#include "(\.\..*)"/gm, fromRoot)
  }
  return sources
}

/** Runs `make(folder)` unless `output` already stems from `ingredients`; what it leaves under the output's name replaces the old one. */
async function update(output, ingredients, make) {
  const stampFile = join(build, `${output}.stamp`)
  const stamp = createHash('sha256').update(JSON.stringify(ingredients)).digest('hex')
  if (existsSync(join(build, output)) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return
  const folder = join(build, `.lowbit-${process.pid}-${output}`)
  mkdirSync(folder, { recursive: true })
  // The first build takes a minute or two.
  console.log(`lowbit: building build/${output} …`)
  try {
    await make(folder)
    rmSync(stampFile, { force: true })
    renameSync(join(folder, output), join(build, output))
    writeFileSync(join(folder, 'stamp'), stamp)
    renameSync(join(folder, 'stamp'), stampFile)
    console.log(`lowbit: built build/${output}`)
  } catch (error) {
    // Better none than one whose kernels are not those of the sources.
    rmSync(join(build, output), { force: true })
    throw error
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The first C++ compiler that answers, as command, leading arguments and version; null if there is none. */
function findCompiler() {
  for (const candidate of [process.env.CXX, 'c++', 'g++', 'clang++']) {
    if (!candidate) continue
    const [command, ...args] = candidate.split(' ')
    const { status, stdout } = spawnSync(command, [...args, '--version'], { encoding: 'utf8' })
    if (status === 0) return { command, args, version: stdout }
  }
  return null
}

async function buildNative() {
  const sources = readSources(nativeSources)
  const variants = Object.entries(instructionSets[process.arch] ?? {}).filter(([name]) => chosen(name))
  const instead = 'using WebAssembly (slower)'
  if (process.platform === 'win32') return `the native addon is not built on Windows yet; ${instead}.`
  if (variants.length === 0) return `the native addon has no kernels for ${process.arch} processors; ${instead}.`
  const compiler = findCompiler()
  if (!compiler) {
    return `no C++ compiler found; ${instead}. Install g++ or clang++ and run "npm run build" for the native addon.`
  }
  const headers = join(dirname(require.resolve('node-api-headers/package.json')), 'include')
  const link = process.platform === 'darwin' ? ['-shared', '-undefined', 'dynamic_lookup'] : ['-shared', '-pthread', '-ldl']
  const flags = [...commonFlags, '-fPIC', '-fvisibility=hidden', '-pthread', '-I', headers]
  const run = (args) => promisify(execFile)(compiler.command, [...compiler.args, ...args], { cwd: root, maxBuffer: 2 ** 26 })

  try {
    await update('lowbit.node', [sources, variants, extensions, flags, kernelFlags, link, compiler], async (folder) => {
      const known = []
      for (const [name, { flags: variant }] of Object.entries(extensions[process.arch] ?? {})) {
        if (!chosen(name)) continue
        const probeFile = join(folder, `probe-${name}.cc`)
        writeFileSync(probeFile, 'int main() {}\n')
        if (
          await run([...variant, probeFile, '-o', join(folder, 'probe')]).then(
            () => true,
            () => false,
          )
        )
          known.push(name)
      }
      const jobs = addonUnits(process.arch, [...variants.map(([name]) => name), ...known]).map(({ name, flags, path, text }) => {
        const source = path ?? join(folder, `${name}.cc`)
        if (text) writeFileSync(source, text)
        return [...flags, source, '-o', join(folder, `${name}.o`)]
      })
      const objects = jobs.map((job) => job[job.length - 1])
      const compileNext = async () => {
        for (let job = jobs.pop(); job; job = jobs.pop()) await run([...flags, '-c', ...job])
      }
      await Promise.all([compileNext(), compileNext()])
      await run([...objects, ...link, '-o', join(folder, 'lowbit.node')])
    })
  } catch (error) {
    return `${compiler.command} failed; ${instead}. ${firstError(error.stderr || error.message)}`
  }
}

/** Builds all modules: each instruction set in a process of its own, at once where there is memory for it. */
async function buildWasm() {
  const builders = Object.keys(wasmInstructionSets)
    .filter(chosen)
    .map((set) => async () => {
      const args = [fileURLToPath(import.meta.url), `--wasm-set=${set}`]
      const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root })
      process.stdout.write(stdout)
    })
  try {
    if (freemem() > builders.length * compilerBytes) await Promise.all(builders.map((build) => build()))
    else for (const build of builders) await build()
  } catch (error) {
    throw new Error(error.stderr?.trim().replace(/^lowbit: /, '') || error.message)
  }
}

/** Compiles the kernels for one instruction set, then links them to each variant of wasm.cc; a set whose modules are current stays. */
async function buildWasmSet(set) {
  const sources = readSources(wasmSources)
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.resolve('@yowasp/clang')), 'utf8'))
  const flags = [...commonFlags, ...kernelFlags, ...wasmFlags, ...wasmInstructionSets[set], `-DLOWBIT_ISA=isa_${set}`]
  let kernels
  for (const [suffix, variantFlags] of Object.entries(wasmVariants)) {
    const output = `lowbit-${set}${suffix}.wasm`
    await update(output, [sources, flags, variantFlags, version], async (folder) => {
      const { runClang } = await import('@yowasp/clang')
      const compile = (args, files) =>
        runNpmClang(runClang, [...flags, ...args], { ...tree(sources), ...files }).catch((messages) => {
          throw new Error(`clang failed for ${output}. ${firstError(messages)}`)
        })
      kernels ??= (await compile(['-c', unit, '-o', 'kernels.o'], {}))['kernels.o']
      const files = await compile([...variantFlags, 'native/wasm.cc', 'kernels.o', '-o', output], { 'kernels.o': kernels })
      await checkModule(output, files[output], suffix !== '')
      writeFileSync(join(folder, output), files[output])
    })
  }
}

/** Throws unless the module's data, and what each thread has of its own, fit where src/devices/cpu/wasmMemory.ts puts them. */
async function checkModule(output, bytes, shared) {
  // Node 20 has no relaxed SIMD; where the module does not validate, its size is checked by the one that does.
  if (!WebAssembly.validate(bytes)) return
  const memory = new WebAssembly.Memory({ initial: wasmHeapStart / 65536, maximum: 65536, shared })
  const { instance } = await WebAssembly.instantiate(bytes, { env: { memory, now: () => 0 } })
  const heapBase = instance.exports.__heap_base.value
  const variables = instance.exports.__tls_size?.value ?? 0
  if (variables > wasmVariablesLimit) {
    throw new Error(`${output}: a thread's variables must take at most ${wasmVariablesLimit} bytes; they take ${variables}`)
  }
  if (heapBase > wasmHeapStart) throw new Error(`${output}: stack and data must end below ${wasmHeapStart}; they end at ${heapBase}`)
}

/** The files after a run of clang++; rejects with its messages. */
async function runNpmClang(runClang, args, files) {
  // Called without arguments it only loads itself, which it would otherwise report on stdout.
  await runClang(null, {}, { fetchProgress() {} })
  const messages = []
  try {
    return await runClang(['clang++', ...args], files, { stderr: (bytes) => bytes && messages.push(Buffer.from(bytes)) })
  } catch (error) {
    throw Buffer.concat(messages).toString() || error.message
  }
}

/** The line of a compiler's messages that says what is wrong. */
function firstError(messages) {
  const lines = String(messages).split('\n')
  return lines.find((line) => /error:|undefined (reference|symbol)/.test(line)) ?? lines[0]
}

/** `{ 'a/b.cc': text }` as nested folders. */
function tree(sources) {
  const top = {}
  for (const [path, text] of Object.entries(sources)) {
    const folders = path.split('/')
    const name = folders.pop()
    let folder = top
    for (const step of folders) folder = folder[step] ??= {}
    folder[name] = text
  }
  return top
}

const options = new Set(process.argv.slice(2))
const onlySet = process.argv[2]?.startsWith('--wasm-set=') ? process.argv[2].slice(11) : null
mkdirSync(build, { recursive: true })
if (!onlySet && !options.has('--wasm')) {
  const problem = await buildNative()
  if (problem) {
    console.error(`lowbit: ${problem}`)
    if (options.has('--require-native')) process.exitCode = 1
  }
}
if (!options.has('--native')) {
  try {
    await (onlySet ? buildWasmSet(onlySet) : buildWasm())
  } catch (error) {
    console.error(`lowbit: ${error.message}`)
    process.exitCode = 1
  }
}
