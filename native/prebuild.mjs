// Cross-compiles the addon for all platforms into build/prebuilds/<platform>/lowbit.node, with zig from PyPI:
//
//   npm run build:platforms [-- linux-x64-gnu …]      the platforms of platforms.json, or these
//
// It needs Python 3 with venv (zig.mjs). An object whose sources and flags are unchanged (its .stamp) is not
// compiled again.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { addonUnits, commonFlags, extensions, instructionSets } from './flags.mjs'
import { installZig, zig, zigVersion } from './zig.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
/** By name: npm's `os`, `cpu` and `libc`, and zig's target with the oldest system that it runs on. */
const platforms = JSON.parse(readFileSync(new URL('./platforms.json', import.meta.url), 'utf8'))

/** What the linker of each operating system is told. */
const linkFlags = {
  linux: [
    '-shared',
    '-pthread',
    '-Wl,--version-script,native/exports.map',
    '-Wl,--gc-sections',
    '-Wl,-z,noexecstack',
  ],
  darwin: [
    '-shared',
    '-Wl,-undefined,dynamic_lookup',
    '-Wl,-dead_strip',
    '-Wl,-install_name,@rpath/lowbit.node',
  ],
  win32: ['-shared', '-Wl,--gc-sections'],
}

const headers = dirname(createRequire(import.meta.url).resolve('node-api-headers/package.json'))
const objects = join(root, 'build', 'objects')

/** A digest of all C++, and of what is given. */
function stampOf(...ingredients) {
  const hash = createHash('sha256').update(JSON.stringify([zigVersion, ...ingredients]))
  for (const folder of ['native', 'src/kernels']) {
    const names = readdirSync(join(root, folder), { recursive: true }).filter((name) =>
      /\.(cc|h)$/.test(name),
    )
    for (const name of names.sort()) hash.update(name).update(readFileSync(join(root, folder, name)))
  }
  return hash.digest('hex')
}

/** Makes a file unless it stems from these ingredients already; returns whether it was made. */
async function update(file, ingredients, make) {
  const stamp = stampOf(...ingredients)
  const stampFile = `${file}.stamp`
  if (existsSync(file) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return false
  mkdirSync(dirname(file), { recursive: true })
  rmSync(stampFile, { force: true })
  await make()
  writeFileSync(stampFile, stamp)
  return true
}

/**
 * The object of a translation unit. Kernels use no library, so that the platforms of one system and processor
 * share theirs.
 */
async function compile({ name, flags, path, text }, platformName) {
  const { os, cpu } = platforms[platformName]
  const alike = Object.values(platforms).filter((platform) => platform.os === os && platform.cpu === cpu)
  const { target } = text ? alike[alike.length - 1] : platforms[platformName]
  const folder = join(objects, text ? `${os}-${cpu}` : platformName)
  const object = join(folder, `${name}.o`)
  const source = path ?? join(folder, `${name}.cc`)
  // Windows' code is position-independent by nature, and its compiler refuses to be told.
  const position = os === 'win32' ? [] : ['-fPIC']
  const platformFlags = [
    '-g0',
    '-fvisibility=hidden',
    '-fno-sanitize=all',
    ...position,
    '-I',
    join(headers, 'include'),
  ]
  const args = ['c++', '-target', target, ...commonFlags, ...platformFlags, ...flags, '-c', source]
  await update(object, [args, text], () => {
    if (text) writeFileSync(source, text)
    return zig(...args, '-o', object)
  })
  return object
}

/** What names Node's symbols for Windows, which wants to know the program that has them. */
async function importLibrary(cpu) {
  const library = join(objects, `win32-${cpu}`, 'node_api.lib')
  const machine = cpu === 'x64' ? 'i386:x86-64' : 'arm64'
  const args = ['-m', machine, '-d', join(headers, 'def', 'node_api.def'), '-l', library, '-D', 'node.exe']
  await update(library, args, () => zig('dlltool', ...args))
  return library
}

/** The tasks' results, in order; as many tasks at once as there are cores. */
async function inParallel(tasks) {
  const results = []
  let next = 0
  const work = async () => {
    while (next < tasks.length) {
      const index = next++
      results[index] = await tasks[index]()
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, work))
  return results
}

async function prebuild(name, compiled) {
  const { os, cpu, target } = platforms[name]
  const units = addonUnits(cpu, [...Object.keys(instructionSets[cpu]), ...Object.keys(extensions[cpu] ?? {})])
  const shared = (unit) => (compiled[`${os}-${cpu} ${unit.name}`] ??= compile(unit, name))
  const tasks = units.map((unit) => () => (unit.text ? shared(unit) : compile(unit, name)))
  const output = join(root, 'build', 'prebuilds', name, 'lowbit.node')
  const inputs = await inParallel(tasks)
  if (os === 'win32') inputs.push(await importLibrary(cpu))
  const args = ['c++', '-target', target, '-O3', '-s', ...linkFlags[os], ...inputs, '-o', output]
  const stamps = inputs.map((file) => readFileSync(`${file}.stamp`, 'utf8'))
  if (
    !(await update(output, [args, stamps, readFileSync(join(root, 'native', 'exports.map'), 'utf8')], () =>
      zig(...args),
    ))
  )
    return
  console.log(
    `prebuild: built build/prebuilds/${name}/lowbit.node, ${(statSync(output).size / 1e6).toFixed(2)} MB`,
  )
}

const chosen = process.argv.slice(2)
const unknown = chosen.find((name) => !platforms[name])
if (unknown)
  throw new Error(
    `prebuild: a platform must be one of ${Object.keys(platforms).join(', ')}; received ${unknown}`,
  )
await installZig()
const compiled = {}
const names = chosen.length > 0 ? chosen : Object.keys(platforms)
await inParallel(names.map((name) => () => prebuild(name, compiled)))
