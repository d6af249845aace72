// Builds build/lowbit-<variant>.wasm with clang from npm: for each instruction set a module for one thread,
// and one for several.
// Four modules in all, baseline and relaxed SIMD, each for one thread (unshared memory, where a page is not
// isolated) and for several. The pool's code is the addon's; only how a thread sleeps differs (parking.h).
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { freemem } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { moduleUnits, wasmInstructionSets, wasmVariants } from './flags.mjs'
import {
  discard,
  firstError,
  isCurrent,
  readKernelSources,
  readSources,
  root,
  unit,
  update,
} from './outputs.mjs'

/**
 * Below this the modules keep stack and data; src/devices/cpu/wasmMemory.ts says the same, and the heap lies
 * above.
 */
const heapStart = 8 * 2 ** 20

/**
 * What a thread's variables may take: what its kernels work in lies behind them (scratch.h), 2¹⁹ bytes in all
 * (src/devices/cpu/wasmWorker.ts).
 */
const variablesLimit = 2 ** 12
/** What kernels work in may take: where memory is not shared, it lies between data and heap. */
const scratchLimit = 2 ** 19

/** What one run of the npm clang takes. */
const compilerBytes = 2 ** 30

/**
 * Builds the modules of these instruction sets, each set in a process of its own, at once where there is
 * memory for it.
 */
export async function buildModules(sets) {
  for (const set of Object.keys(wasmInstructionSets)) {
    if (!sets.includes(set))
      for (const module of modulesOf(set))
        if (!isCurrent(module.output, module.ingredients)) discard(module.output)
  }
  const builders = sets.map((set) => async () => {
    const running = promisify(execFile)(process.execPath, [fileURLToPath(import.meta.url), set], {
      cwd: root,
    })
    running.child.stdout.pipe(process.stdout)
    await running
  })
  try {
    if (freemem() > builders.length * compilerBytes) await Promise.all(builders.map((build) => build()))
    else for (const build of builders) await build()
  } catch (error) {
    throw new Error(error.stderr?.trim() || error.message)
  }
}

/** What the modules of an instruction set are called, linked with, and made of. */
function modulesOf(set) {
  const { version } = JSON.parse(
    readFileSync(new URL('../package.json', import.meta.resolve('@yowasp/clang')), 'utf8'),
  )
  const sources = { ...readKernelSources(), ...readSources(['parking.h', 'pool.h', 'stop.h', 'wasm.cc']) }
  return Object.entries(wasmVariants).map(([suffix, link]) => {
    const ingredients = [sources, moduleUnits(set), link, version]
    return { output: `lowbit-${set}${suffix}.wasm`, shared: suffix !== '', link, sources, ingredients }
  })
}

/** Compiles the kernels for one instruction set, then links them to each variant of wasm.cc. */
async function buildSet(set) {
  const units = moduleUnits(set)
  const objects = {}
  for (const { output, shared, link, sources, ingredients } of modulesOf(set)) {
    await update(output, ingredients, async (folder) => {
      const compile = (args, files) => runClang(args, tree({ ...sources, ...files }), output)
      for (const { name, flags, text } of units) {
        const object = `${name}.o`
        objects[object] ??= (await compile([...flags, '-c', unit, '-o', object], { [unit]: text }))[object]
      }
      const args = [...units[0].flags, ...link, 'native/wasm.cc', ...Object.keys(objects), '-o', output]
      const files = await compile(args, objects)
      await checkModule(output, files[output], shared)
      writeFileSync(join(folder, output), files[output])
    })
  }
}

/**
 * Throws unless the module's data, and what each thread has of its own, fit where
 * src/devices/cpu/wasmMemory.ts puts them.
 */
async function checkModule(output, bytes, shared) {
  // Node 20 has no relaxed SIMD; where the module does not validate, its size is checked by the one that
  // does.
  if (!WebAssembly.validate(bytes)) return
  const memory = new WebAssembly.Memory({ initial: heapStart / 65536, maximum: 65536, shared })
  const { instance } = await WebAssembly.instantiate(bytes, { env: { memory, now: () => 0 } })
  const heapBase = instance.exports.__heap_base.value
  const variables = instance.exports.__tls_size?.value ?? 0
  if (variables > variablesLimit) {
    throw new Error(
      `${output}: a thread's variables must take at most ${variablesLimit} bytes; they take ${variables}`,
    )
  }
  const end = heapBase + scratchLimit
  if (end > heapStart)
    throw new Error(`${output}: stack, data and scratch must end below ${heapStart}; they end at ${end}`)
}

/** The files after a run of clang++. */
async function runClang(args, files, output) {
  const clang = await import('@yowasp/clang')
  // Called without arguments it only loads itself, which it would otherwise report on stdout.
  await clang.runClang(null, {}, { fetchProgress() {} })
  const messages = []
  try {
    return await clang.runClang(['clang++', ...args], files, {
      stderr: (bytes) => bytes && messages.push(Buffer.from(bytes)),
    })
  } catch (error) {
    throw new Error(
      `clang failed for ${output}. ${firstError(Buffer.concat(messages).toString() || error.message)}`,
    )
  }
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

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    await buildSet(process.argv[2])
  } catch (error) {
    console.error(error.message)
    process.exitCode = 1
  }
}
