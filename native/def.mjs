// Reads kernels.def and writes what is made from it: src/kernels/signatures.ts and the dispatch of each instruction set.
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const definitions = new URL('kernels.def', import.meta.url)
const signatures = new URL('../src/kernels/signatures.ts', import.meta.url)

const cTypes = { f32: 'float', i32: 'int32_t', u8: 'uint8_t', dtype: 'int32_t', qtype: 'int32_t' }

/**
 * The kernels of a `.def` text, in order; the index is the kernel's id. An argument is
 * `{ name, direction: 'in' | 'out' | 'inout' | 'scalar', type, dtype?, optional? }`, where `dtype` names the argument that says what T is.
 */
export function parseKernels(text) {
  const kernels = []
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue
    const kernel = /^(\w+)\((.*)\)\s*$/.exec(line)
    if (!kernel) throw new Error(`kernels.def:${index + 1}: must read name(argument, …); received ${line}`)
    const args = kernel[2].split(', ').map((argument) => {
      const array = /^(in|out|inout) (?:(f32|i32|u8)|T\((\w+)\))\* (\w+)(\?)?$/.exec(argument)
      if (array) return { name: array[4], direction: array[1], type: array[2] ?? 'T', dtype: array[3], optional: array[5] === '?' }
      const scalar = /^(f32|i32|dtype|qtype) (\w+)$/.exec(argument)
      if (scalar) return { name: scalar[2], direction: 'scalar', type: scalar[1] }
      throw new Error(`kernels.def:${index + 1}: must be "in f32* x", "out T(d)* y" or "i32 count"; received ${argument}`)
    })
    const dtypes = args.filter(({ type }) => type === 'dtype').map(({ name }) => name)
    const stray = args.find(({ dtype }) => dtype && !dtypes.includes(dtype))
    if (stray) throw new Error(`kernels.def:${index + 1}: T(${stray.dtype})* needs an argument "dtype ${stray.dtype}"; received none`)
    kernels.push({ name: kernel[1], args })
  }
  return kernels
}

export function readKernels() {
  return parseKernels(readFileSync(definitions, 'utf8'))
}

/** The text of src/kernels/signatures.ts. */
export function signaturesSource(kernels) {
  const argument = ({ name, direction, type, dtype, optional }) => {
    if (direction === 'scalar') return `{ name: '${name}', direction: 'scalar', type: '${type}' }`
    const element = dtype ? `{ array: 'T', dtype: '${dtype}' }` : `'${type}'`
    return `{ name: '${name}', direction: '${direction}', type: ${element}, optional: ${optional} }`
  }
  const entry = ({ name, args }, id) => `  ${name}: {
    id: ${id},
    args: [
${args.map((a) => `      ${argument(a)},\n`).join('')}    ],
  },
`
  return `// Made from native/kernels.def by \`node native/def.mjs\`; edit that file instead.

/** An array: who reads and writes it, and its elements; \`{ array: 'T', dtype }\` is raw bits of the dtype given by that other argument. */
export interface ArrayArgument {
  readonly name: string
  readonly direction: 'in' | 'out' | 'inout'
  readonly type: 'f32' | 'i32' | 'u8' | { readonly array: 'T'; readonly dtype: string }
  /** May be absent: address 0. */
  readonly optional: boolean
}

/** A number; dtype and qtype are the codes of \`src/core/dtype.ts\` and \`src/core/qtype.ts\`. */
export interface ScalarArgument {
  readonly name: string
  readonly direction: 'scalar'
  readonly type: 'i32' | 'f32' | 'dtype' | 'qtype'
}

/** What a kernel takes, and its number in command lists. */
export interface Signature {
  readonly id: number
  readonly args: readonly (ArrayArgument | ScalarArgument)[]
}

export type KernelName = keyof typeof signatures

/** Every kernel by name, in the order of its id. */
export const signatures = {
${kernels.map(entry).join('')}} as const satisfies Record<string, Signature>
`
}

function cType({ direction, type }) {
  if (direction === 'scalar') return cTypes[type]
  return `${direction === 'in' ? 'const ' : ''}${cTypes[type] ?? 'void'}*`
}

/**
 * The translation unit that is compiled once per instruction set: every kernel, then the dispatch. With `base`, another instruction set,
 * only the kernels of these names are compiled; it runs the others.
 */
export function unitSource(kernels, names = kernels.map(({ name }) => name), base = null) {
  const includes = names.map((name) => `#include "src/kernels/${name}/${name}.cc"\n`)
  return `${includes.join('')}\n${dispatchSource(kernels, names, base)}`
}

/**
 * The C++ that ends a translation unit: `run` decodes one record of a command list and calls its kernel. Each call goes through a
 * pointer of the type that the .def states, so that a kernel which differs does not compile.
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

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(signatures, signaturesSource(readKernels()))
