// What builds leave in build/, each with a stamp that says what it was made of.
// An instruction set takes a compiler 22 s of CPU time (native) or 75 s (in WebAssembly), so a first run
// builds one and the rest is added later. What is neither current nor asked for is removed: better no module
// than one whose kernels are not those of the sources.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readKernels, unitSource } from './def.mjs'

export const root = fileURLToPath(new URL('..', import.meta.url))
export const build = join(root, 'build')

/** The translation unit of all kernels, where the compilers of WebAssembly modules see it. */
export const unit = 'build/generated/kernels.cc'

const headers = [
  ...['bytes.h', 'dots.h', 'exp.h', 'floats.h', 'fold.h', 'panel.h', 'parallel.h', 'scratch.h'],
  ...['simd.h', 'transpose.h', 'types.h'],
]

const stampFile = (output) => join(build, `${output}.stamp`)
const stampOf = (ingredients) => createHash('sha256').update(JSON.stringify(ingredients)).digest('hex')

/** The kernels and the translation unit made of them, as `readSources` gives them. */
export function readKernelSources() {
  const names = readdirSync(join(root, 'src/kernels'), { recursive: true }).filter((name) =>
    /\.(cc|h)$/.test(name),
  )
  const kernels = names.map((name) => `src/kernels/${name.replaceAll('\\', '/')}`)
  return { [unit]: unitSource(readKernels()), ...readPaths(kernels), ...readSources([]) }
}

/** These files of native/, and its headers that all share: texts by path from the root. */
export function readSources(names) {
  return readPaths([...headers, ...names].map((name) => `native/${name}`))
}

function readPaths(paths) {
  const sources = {}
  for (const path of paths.sort()) {
    // The npm clang's file system knows no "..", so includes are spelled from the root.
    const fromRoot = (_, to) => `#include "${posix.join(dirname(path), to)}"`
    sources[path] = readFileSync(join(root, path), 'utf8').replace(/^#include "(\.\..*)"/gm, fromRoot)
  }
  return sources
}

/** Whether `output` is there and stems from `ingredients`. */
export function isCurrent(output, ingredients) {
  const stamp = stampFile(output)
  return (
    existsSync(join(build, output)) &&
    existsSync(stamp) &&
    readFileSync(stamp, 'utf8') === stampOf(ingredients)
  )
}

/**
 * Runs `make(folder)` unless `output` is current; what it leaves under the output's name replaces the old one
 * in one step.
 */
export async function update(output, ingredients, make) {
  if (isCurrent(output, ingredients)) return
  const folder = join(build, `.lowbit-${process.pid}-${output}`)
  mkdirSync(folder, { recursive: true })
  // The first build takes a minute or two.
  console.log(`lowbit: building build/${output} …`)
  try {
    await make(folder)
    rmSync(stampFile(output), { force: true })
    renameSync(join(folder, output), join(build, output))
    writeFileSync(join(folder, 'stamp'), stampOf(ingredients))
    renameSync(join(folder, 'stamp'), stampFile(output))
    console.log(`lowbit: built build/${output}`)
  } catch (error) {
    discard(output)
    throw error
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Removes an output: better none than one whose kernels are not those of the sources. */
export function discard(output) {
  rmSync(join(build, output), { force: true })
  rmSync(stampFile(output), { force: true })
}

/** The line of a compiler's messages that says what is wrong. */
export function firstError(messages) {
  const lines = String(messages).split('\n')
  return lines.find((line) => /error:|undefined (reference|symbol)/.test(line)) ?? lines[0]
}
