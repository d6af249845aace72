// Reads types.def and makes of it the table of src/core and the facts and switches that kernels see.
import { readFileSync } from 'node:fs'

const definitions = new URL('types.def', import.meta.url)

/** The float8 dtypes that codes may have. */
const float8s = ['float8_e4m3fn', 'float8_e5m2', 'float8_e4m3fnuz']

/** The dtypes of a `.def` text, `{ name, bytes, array }`; the index is the dtype's code. */
export function parseDTypes(text) {
  const dtypes = []
  for (const [index, line] of text.split('\n').entries()) {
    if (!line.startsWith('dtype ')) continue
    const match = /^dtype (\w+) ([1248]) (\w+Array)$/.exec(line)
    if (!match)
      throw new Error(`types.def:${index + 1}: must read "dtype name bytes array"; received ${line}`)
    const [, name, bytes, array] = match
    dtypes.push({ name, bytes: Number(bytes), array })
  }
  return dtypes
}

/**
 * The quantized types of a `.def` text; the index is the type's code. A type is `{ name, bits, values, dtype,
 * qmin, qmax, codebook, text }`: `dtype` is that of its codes, one a byte, `qmin` and `qmax` are the ends of its values.
 */
export function parseTypes(text) {
  const types = []
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '' || line.startsWith('#') || line.startsWith('dtype ')) continue
    const match = /^(\w+) (\d+) (unsigned|signed|float|codebook)((?: \S+)*?) # (.+)$/.exec(line)
    const bits = Number(match?.[2])
    if (!match || bits < 1 || bits > 8)
      throw new Error(
        `types.def:${index + 1}: must read "name bits values # text", bits 1 to 8; received ${line}`,
      )
    const [, name, , values, rest, description] = match
    const words = rest.trim().split(' ').filter(Boolean)
    types.push({ name, bits, values, text: description, ...factsOf(values, bits, words, index + 1) })
  }
  return types
}

function factsOf(values, bits, words, line) {
  const refuse = (must) => {
    throw new Error(`types.def:${line}: ${must}; received ${words.join(' ') || 'nothing'}`)
  }
  if (values === 'float') {
    const [dtype, max] = words
    if (bits !== 8 || !float8s.includes(dtype) || !(Number(max) > 0))
      refuse(`8 bits must have a dtype of ${float8s.join(', ')} and their largest value`)
    return { dtype, qmin: -Number(max), qmax: Number(max) }
  }
  if (values === 'codebook') {
    const codebook = words.map(Number)
    if (bits !== 4 || codebook.length !== 16 || !codebook.every(Number.isFinite))
      refuse('a codebook must have 4 bits and 16 numbers')
    return { dtype: 'uint8', qmin: Math.min(...codebook), qmax: Math.max(...codebook), codebook }
  }
  if (words.length > 0) refuse(`${values} codes must have no further words`)
  if (values === 'unsigned') return { dtype: 'uint8', qmin: 0, qmax: 2 ** bits - 1 }
  if (bits !== 8) refuse('signed codes must have 8 bits')
  return { dtype: 'int8', qmin: -128, qmax: 127 }
}

/** What types.def says: `{ dtypes, qtypes }`. */
export function readTypes() {
  const text = readFileSync(definitions, 'utf8')
  return { dtypes: parseDTypes(text), qtypes: parseTypes(text) }
}

const made = '// Made from native/types.def by `node native/def.mjs`; edit that file instead.'
const number = (value) => (Object.is(value, -0) ? '-0' : String(value))

/** The text of src/core/dtypes.ts. */
export function dtypesSource(dtypes) {
  const entry = ({ name, bytes, array }, code) =>
    `  ${name}: { code: ${code}, bytes: ${bytes}, array: ${array}, floating: ${name.includes('float')} },\n`
  return `${made}

/**
 * Every dtype: its number in the kernels' ABI, its bytes per value, and the typed array that holds its raw
 * bits. float16, bfloat16 and float8 are bit patterns: JavaScript has no such numbers on Node 20.
 */
export const dtypes = {
${dtypes.map(entry).join('')}} as const
`
}

/** The text of src/core/qtypes.ts. */
export function qtypesSource(types) {
  const entry = ({ name, bits, values, dtype, qmin, qmax, codebook, text }, code) => {
    const facts = `name: '${name}', code: ${code}, bits: ${bits}, values: '${values}', dtype: '${dtype}'`
    const range = `qmin: ${qmin}, qmax: ${qmax}, unsigned: ${values === 'unsigned'}`
    const table = codebook ? `, codebook: [${codebook.map(number).join(', ')}]` : ''
    return `/** ${text} */\nexport const ${name}: QType = { ${facts}, ${range}${table} }\n`
  }
  return `${made}
import type { QType } from './qtype.ts'

/** The names of all quantized types. */
export type TypeName = ${types.map(({ name }) => `'${name}'`).join(' | ')}

${types.map(entry).join('')}
/** All quantized types, at the index that is their code. */
export const qtypesByCode: readonly QType[] = [${types.map(({ name }) => name).join(', ')}]
`
}

/** The text of native/types.h. */
export function typesHeader({ dtypes, qtypes: types }) {
  const constant = ({ name }) => name.toUpperCase()
  const kinds = {
    unsigned: 'UNSIGNED_CODES',
    signed: 'SIGNED_CODES',
    float: 'FLOAT_CODES',
    codebook: 'CODEBOOK',
  }
  const literal = (value) => `${Number.isInteger(value) ? `${number(value)}.0` : value}f`
  const facts = ({ bits, values, dtype, qmin, qmax, codebook }) => {
    const float8 = values === 'float' ? dtype.toUpperCase() : '-1'
    const table = codebook ? `, {${codebook.map(literal).join(', ')}}` : ''
    return `    {${bits}, ${kinds[values]}, ${float8}, ${literal(qmin)}, ${literal(qmax)}${table}},\n`
  }
  const branch = (type) => `    case ${constant(type)}: return body(Constant<${constant(type)}>{});\n`
  return `${made}
#pragma once

/* Dtypes and quantized types: their numbers in the ABI, and what is known of each. A part of simd.h. */

namespace LOWBIT_ISA {

enum DType : int32_t { ${dtypes.map(constant).join(', ')} };

/* Bytes per value of a dtype. */
constexpr int32_t dtypeBytes[] = { ${dtypes.map(({ bytes }) => bytes).join(', ')} };
constexpr int32_t bytesOf(int32_t dtype) { return dtypeBytes[dtype]; }

enum QType : int32_t { ${types.map(constant).join(', ')} };

enum QTypeValues { UNSIGNED_CODES, SIGNED_CODES, FLOAT_CODES, CODEBOOK };

struct QTypeFacts {
  int bits;
  QTypeValues values;
  int32_t float8; /* the dtype of float codes, else -1 */
  float low, high; /* the ends of its values */
  float codebook[16];
};

constexpr QTypeFacts qtypes[] = {
${types.map(facts).join('')}};

/* The float8 dtype of a type's codes; -1 if they are no floats. */
constexpr int32_t float8Of(int32_t qtype) { return qtypes[qtype].float8; }

/* body(constant) with the type as a compile-time constant, as withFloat. A type that there is not ends the process. */
template <class Body> INLINE void withQType(int32_t qtype, Body&& body) {
  switch (qtype) {
${types.map(branch).join('')}    default: __builtin_trap();
  }
}

}  // namespace LOWBIT_ISA
`
}
