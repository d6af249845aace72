// Reads kernels.def and types.def and writes what is made from them: three tables of src/kernels, that of the
// quantized types and their header, and the dispatch of each instruction set.
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { dtypesSource, qtypesSource, readTypes, typesHeader } from './types.mjs'

const definitions = new URL('kernels.def', import.meta.url)
const folder = new URL('../src/kernels/', import.meta.url)

const cTypes = { f32: 'float', i32: 'int32_t', u8: 'uint8_t', dtype: 'int32_t', qtype: 'int32_t' }

/** The lines of a text with the indented ones that go on with them; without empty ones and comments. */
function wholeLines(text) {
  const whole = []
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue
    if (/^\s/.test(line) && whole.length > 0) whole[whole.length - 1].line += ` ${line.trim()}`
    else whole.push({ index, line })
  }
  return whole
}

/**
 * The kernels of a `.def` text, in order, each with the family whose folder it is in; the index is the
 * kernel's id. An argument is `{ name, direction: 'in' | 'out' | 'inout' | 'scalar', type, dtype?, optional?
 * }`, where `dtype` names the argument that says what T is.
 */
export function parseKernels(text) {
  const kernels = []
  let family = ''
  for (const { index, line } of wholeLines(text)) {
    const heading = /^\[(\w+)\]/.exec(line)
    if (heading) {
      family = heading[1]
      continue
    }
    if (family === '')
      throw new Error(`kernels.def:${index + 1}: a heading "[family]" must come before the first kernel`)
    const kernel = /^(\w+)\((.*)\)\s*$/.exec(line)
    if (!kernel) throw new Error(`kernels.def:${index + 1}: must read name(argument, …); received ${line}`)
    const args = kernel[2].split(', ').map((argument) => {
      const array = /^(in|out|inout) (?:(f32|i32|u8)|T\((\w+)\))\* (\w+)(\?)?$/.exec(argument)
      if (array)
        return {
          name: array[4],
          direction: array[1],
          type: array[2] ?? 'T',
          dtype: array[3],
          optional: array[5] === '?',
        }
      const scalar = /^(f32|i32|dtype|qtype) (\w+)$/.exec(argument)
      if (scalar) return { name: scalar[2], direction: 'scalar', type: scalar[1] }
      throw new Error(
        `kernels.def:${index + 1}: must be "in f32* x", "out T(d)* y" or "i32 count"; received ${argument}`,
      )
    })
    const dtypes = args.filter(({ type }) => type === 'dtype').map(({ name }) => name)
    const stray = args.find(({ dtype }) => dtype && !dtypes.includes(dtype))
    if (stray)
      throw new Error(
        `kernels.def:${index + 1}: T(${stray.dtype})* needs an argument "dtype ${stray.dtype}"; received none`,
      )
    kernels.push({ name: kernel[1], family, args })
  }
  return kernels
}

export function readKernels() {
  return parseKernels(readFileSync(definitions, 'utf8'))
}

const made = '// Made from native/kernels.def by `node native/def.mjs`; edit that file instead.'

/** The text of src/kernels/signatures.ts. */
function signaturesSource(kernels) {
  const argument = ({ name, direction, type, dtype, optional }) => {
    if (direction === 'scalar') return `scalar('${name}', '${type}')`
    const element = dtype ? `{ array: 'T', dtype: '${dtype}' }` : `'${type}'`
    return `array('${direction}', '${name}', ${element}${optional ? ', true' : ''})`
  }
  const entry = ({ name, args }, id) => {
    const parameters = args.map(argument).join(', ')
    const values = args.map(({ name }) => `a.${name}`).join(', ')
    return `  ${name}: { id: ${id}, args: [${parameters}], inOrder: (a: Named) => [${values}] },\n`
  }
  return `${made}
import { array, type Named, type Signature, scalar } from './signature.ts'

export type KernelName = keyof typeof signatures

/** Every kernel by name, in the order of its id. */
export const signatures = {
${kernels.map(entry).join('')}} satisfies Record<string, Signature>
`
}

/** The text of src/kernels/definitions.ts. */
function definitionsSource(kernels) {
  const imports = kernels.map(
    ({ name, family }) => `import { ${name} } from './${family}/${name}/${name}.ts'\n`,
  )
  return `${made}
${imports.join('')}import type { KernelName } from './signatures.ts'

/** The definition of every kernel: plain loops over arrays of raw bits, the oracle of all devices. */
export const definitions: Record<KernelName, (...args: never[]) => void> = {
${kernels.map(({ name }) => `  ${name},\n`).join('')}}
`
}

/** The text of src/kernels/cases.ts. */
function casesSource(kernels) {
  const read = ({ name, family }) =>
    readFileSync(new URL(`${family}/${name}/${name}.cases.ts`, folder), 'utf8')
  const timed = new Set(
    kernels.filter((kernel) => /^export const benchmarks\b/m.test(read(kernel))).map(({ name }) => name),
  )
  const benchmarks = (name) => (timed.has(name) ? `, benchmarks as ${name}Benchmarks` : '')
  const imports = kernels.map(
    ({ name, family }) =>
      `import { cases as ${name}${benchmarks(name)} } from './${family}/${name}/${name}.cases.ts'\n`,
  )
  return `${made}
import type { KernelCase } from './case.ts'
${imports.join('')}import type { KernelName } from './signatures.ts'

/** The cases of every kernel, for tests on all devices. */
export const cases: Record<KernelName, readonly KernelCase[]> = {
${kernels.map(({ name }) => `  ${name},\n`).join('')}}

/**
 * Cases of the sizes that models have, too slow for the definitions; bench/kernels.ts times them on every
 * device.
 */
export const benchmarks: Partial<Record<KernelName, readonly KernelCase[]>> = {
${[...timed].map((name) => `  ${name}: ${name}Benchmarks,\n`).join('')}}
`
}

/** What is made from the kernels and the quantized types, by the path of its file from the root. */
export function madeFiles(kernels = readKernels(), types = readTypes()) {
  return {
    'src/kernels/signatures.ts': signaturesSource(kernels),
    'src/kernels/definitions.ts': definitionsSource(kernels),
    'src/kernels/cases.ts': casesSource(kernels),
    'src/core/dtypes.ts': dtypesSource(types.dtypes),
    'src/core/qtypes.ts': qtypesSource(types.qtypes),
    'native/types.h': typesHeader(types),
  }
}

function cType({ direction, type }) {
  if (direction === 'scalar') return cTypes[type]
  return `${direction === 'in' ? 'const ' : ''}${cTypes[type] ?? 'void'}*`
}

/**
 * The translation unit that is compiled once per instruction set: every kernel, then the dispatch. With
 * `base`, another instruction set, only the kernels of these names are compiled; it runs the others.
 */
export function unitSource(kernels, names = kernels.map(({ name }) => name), base = null) {
  const compiled = kernels.filter(({ name }) => names.includes(name))
  const includes = compiled.map(({ name, family }) => `#include "src/kernels/${family}/${name}/${name}.cc"\n`)
  return `${includes.join('')}\n${dispatchSource(kernels, names, base)}`
}

/**
 * The C++ that ends a translation unit: `run` decodes one record of a command list and calls its kernel. Each
 * call goes through a pointer of the type that the .def states, so that a kernel which differs does not
 * compile.
 */
function dispatchSource(kernels, names, base) {
  const decode = (arg, index) => {
    const word = `words[${index + 1}]`
    return arg.direction === 'scalar' ? `(${cType(arg)})${word}` : `(${cType(arg)})(uintptr_t)${word}`
  }
  const entry = ({ name, args }, id) => {
    if (!names.includes(name)) return ''
    return `    case ${id}: {
      if (count < ${args.length + 1}) return 0;
      void (*kernel)(${args.map(cType).join(', ')}) = ${name};
      kernel(${args.map(decode).join(', ')});
      return ${args.length + 1};
    }
`
  }
  const others = base ? `namespace isa_${base} { size_t run(const double* words, size_t count); }\n` : ''
  return `${others}namespace LOWBIT_ISA {

// Runs the record at words and returns its length; 0 if count words do not hold it or no kernel has its id.
size_t run(const double* words, size_t count) {
  if (count == 0) return 0;
  switch ((int32_t)words[0]) {
${kernels.map(entry).join('')}    default:
      return ${base ? `isa_${base}::run(words, count)` : 0};
  }
}

}  // namespace LOWBIT_ISA
`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [path, text] of Object.entries(madeFiles()))
    writeFileSync(new URL(`../${path}`, import.meta.url), text)
}
