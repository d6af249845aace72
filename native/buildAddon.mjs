// Builds build/lowbit.node with the machine's C++ compiler: an object for each instruction set, linked with
// the binding to Node.
import { execFile, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { promisify } from 'node:util'
import { addonUnits, commonFlags, extensions, instructionSets } from './flags.mjs'
import {
  build,
  discard,
  firstError,
  isCurrent,
  readKernelSources,
  readSources,
  root,
  update,
} from './outputs.mjs'

const output = 'lowbit.node'
const sources = ['addon.cc', 'cpu.h', 'memory.h', 'parallel.cc', 'parking.h', 'pool.h', 'queue.h', 'stop.h']
const instead = 'using WebAssembly (slower)'

const sets = instructionSets[process.arch] ?? {}
const extended = extensions[process.arch] ?? {}

/**
 * Builds the addon with the instruction sets that `chosen` picks from `(names, runs, best)`: all that the
 * compiler knows, those of this CPU, the best of them (all three times all where the compiler cannot say).
 * Others are kept where their objects are current.
 * @returns why there is no addon, as a sentence; undefined where there is one
 */
export async function buildAddon(chosen) {
  const problem = await findProblem(chosen)
  if (problem) discard(output)
  return problem
}

async function findProblem(chosen) {
  if (process.platform === 'win32') return `the native addon is not built on Windows yet; ${instead}.`
  if (Object.keys(sets).length === 0)
    return `the native addon has no kernels for ${process.arch} processors; ${instead}.`
  const compiler = findCompiler()
  if (!compiler) {
    return `no C++ compiler found; ${instead}. Install g++ or clang++ and run "npm run build" for the native addon.`
  }
  try {
    const known = Object.keys(extended).filter((name) => preprocess(compiler, extended[name].flags) !== null)
    await compileAndLink(compiler, [...Object.keys(sets), ...known], chosen)
  } catch (error) {
    return `${compiler.command} failed; ${instead}. ${firstError(error.stderr || error.message)}`
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

/** The macros that the compiler defines with these flags; null if it does not know them. */
function preprocess({ command, args }, flags) {
  const dump = [...args, ...flags, '-dM', '-E', '-x', 'c++', '-']
  const { status, stdout } = spawnSync(command, dump, { input: '', encoding: 'utf8' })
  return status === 0 ? stdout : null
}

/** What this CPU has of these instruction sets and extensions; null where the compiler cannot say. */
function runnable(compiler, names) {
  const macros = preprocess(compiler, ['-march=native'])
  if (macros === null) return null
  // -mavx512vnni says that __AVX512VNNI__ is defined; what is no instruction set, as -Os, says nothing.
  const macroOf = (flag) => `#define __${flag.slice(2).toUpperCase().replace('.', '_')}__ `
  const asks = (flag) => flag.startsWith('-m')
  const flagsOf = (name) => sets[name] ?? extended[name].flags
  return names.filter((name) => flagsOf(name).every((flag) => !asks(flag) || macros.includes(macroOf(flag))))
}

/** The best of what a CPU has, and what extends it. */
function bestOf(names) {
  const best = Object.keys(sets).findLast((name) => names.includes(name))
  return names.filter((name) => name === best || extended[name]?.base === best)
}

async function compileAndLink(compiler, names, chosen) {
  const headers = join(
    dirname(createRequire(import.meta.url).resolve('node-api-headers/package.json')),
    'include',
  )
  const flags = [...commonFlags, '-fPIC', '-fvisibility=hidden', '-pthread', '-I', relative(root, headers)]
  const link =
    process.platform === 'darwin'
      ? ['-shared', '-undefined', 'dynamic_lookup']
      : ['-shared', '-pthread', '-ldl']
  const run = (args) =>
    promisify(execFile)(compiler.command, [...compiler.args, ...args], { cwd: root, maxBuffer: 2 ** 26 })

  const [kernels, binding] = [readKernelSources(), readSources(sources)]
  const object = ({ name }) => `native-${name}.o`
  const ingredients = ({ flags: own, text }) => [text ? kernels : binding, text, own, flags, compiler]
  const runs = runnable(compiler, names)
  const wanted = runs ? chosen(names, runs, bestOf(runs)) : chosen(names, names, names)
  const current = addonUnits(process.arch, names).filter((unit) => isCurrent(object(unit), ingredients(unit)))
  const included = names.filter((name) => wanted.includes(name) || current.some((unit) => unit.name === name))
  if (included.length === 0) return discard(output)

  const units = addonUnits(process.arch, included)
  const waiting = [...units]
  const compileNext = async () => {
    for (let unit = waiting.shift(); unit; unit = waiting.shift()) await compile(unit)
  }
  const compile = (unit) =>
    update(object(unit), ingredients(unit), async (folder) => {
      const path = unit.path ?? join(folder, 'kernels.cc')
      if (unit.text) writeFileSync(path, unit.text)
      await run([...flags, '-c', ...unit.flags, path, '-o', join(folder, object(unit))])
    })
  await Promise.all([compileNext(), compileNext()])
  await update(output, [units.map(ingredients), link], (folder) =>
    run([...units.map((unit) => join(build, object(unit))), ...link, '-o', join(folder, output)]),
  )
}
