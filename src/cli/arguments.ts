import { InvalidArgumentError } from 'commander'
import { DTypeError } from '../core/errors.ts'
import { asQType, type QType } from '../core/qtype.ts'
import type { CalibratedAlgorithmName } from '../quantize/algorithms/index.ts'
import type { GgufQuantizedType } from '../quantize/ggufQuantizers.ts'
import type { ActOrder } from '../quantize/gptqQuantizer.ts'
import type { QuantizerName } from '../quantize/quantizers.ts'

/** Reads an option's value; what it throws is an error of usage. */
type Parser<T> = (text: string) => T

/** A number from `least` to `most`. */
export function number(least = -Infinity, most = Infinity): Parser<number> {
  return (text) => {
    const value = Number(text)
    if (text.trim() !== '' && Number.isFinite(value) && value >= least && value <= most) return value
    const within =
      least === -Infinity ? '' : most === Infinity ? `, ${least} or more` : ` from ${least} to ${most}`
    throw new InvalidArgumentError(`It must be a number${within}.`)
  }
}

/** Whole numbers from `least` up, with commas between them: `1,4`. */
export function wholeNumbers(least: number): Parser<number[]> {
  return (text) => text.split(',').map(wholeNumber(least))
}

/** A probability that something can have: above 0, at most 1. */
export function share(text: string): number {
  const value = Number(text)
  if (value > 0 && value <= 1) return value
  throw new InvalidArgumentError('It must be a number above 0, at most 1.')
}

/** A whole number from `least` to `most`. */
export function wholeNumber(least: number, most = Number.MAX_SAFE_INTEGER): Parser<number> {
  return (text) => {
    const value = Number(text)
    if (text.trim() !== '' && Number.isSafeInteger(value) && value >= least && value <= most) return value
    throw new InvalidArgumentError(`It must be a whole number, ${range(least, most)}.`)
  }
}

/** What `--algorithm` takes, and the names in the table of quantizers, which is loaded when it is used. */
const quantizerNames = {
  absmax: 'absmax',
  max: 'max',
  hqq: 'hqq',
  codebook: 'codebook',
  'double-quant': 'doubleQuant',
  'llm-int8': 'llmInt8',
} as const satisfies Record<string, QuantizerName>

/** Algorithms that see data, as a shell writes them; their code is loaded when it is used. */
const dataAlgorithms = {
  rotate: 'rotate',
  smoothquant: 'smoothQuant',
  awq: 'awq',
  gptq: 'gptq',
  gptaq: 'gptaq',
  autoround: 'autoRound',
  'distil-scales': 'distilScales',
  imatrix: 'imatrix',
} as const satisfies Record<string, CalibratedAlgorithmName>

/** What `--algorithm` of `quantize` takes. */
export type AlgorithmName = QuantizerName | CalibratedAlgorithmName

/** Whether an algorithm needs a text. */
export function seesData(name: AlgorithmName): name is CalibratedAlgorithmName {
  return Object.values(dataAlgorithms).some((other) => other === name)
}

/** A quantizer, or algorithms that see data with commas between them; as a shell or as the API writes them. */
export function algorithmNames(text: string): AlgorithmName[] {
  const all = Object.entries({ ...quantizerNames, ...dataAlgorithms })
  return text.split(',').map((part) => {
    const found = all.find((names) => names.includes(part.trim()))
    if (found) return found[1]
    throw new InvalidArgumentError(`It must be one of ${all.map(([name]) => name).join(', ')}.`)
  })
}

/** Algorithms of one configuration, of which several that see data have a + between them: `rotate+gptq`. */
export function algorithmSum(text: string): AlgorithmName[] {
  return text.split('+').flatMap(algorithmNames)
}

/** In which order GPTQ solves columns. */
export function actOrder(text: string): ActOrder {
  if (text === 'static' || text === 'group-aware') return text
  if (text === 'true' || text === 'false') return text === 'true'
  throw new InvalidArgumentError('It must be static, group-aware, true or false.')
}

/** Bytes, in decimal units where one is named: `80MB`. */
export function byteSize(text: string): number {
  const [, value, unit] = /^\s*(\d+(?:\.\d+)?)\s*([kMGT]?)B?\s*$/i.exec(text) ?? []
  const bytes = Number(value) * 1000 ** ['', 'k', 'm', 'g', 't'].indexOf((unit ?? '').toLowerCase())
  if (bytes > 0) return bytes
  throw new InvalidArgumentError('It must be a size such as 80MB, 1.5GB or 80000000.')
}

/** A quantized type by name. */
export function quantizedType(text: string): QType {
  try {
    return asQType(text)
  } catch (error) {
    if (error instanceof DTypeError)
      throw new InvalidArgumentError(
        'It must be int8, int4, int3, int2, float8, float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, nf4 or fp4.',
      )
    throw error
  }
}

/** GGUF's types, here for `--help` to be fast. */
const ggufTypes = [
  ...(['Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K', 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0'] as const),
  ...(['IQ4_NL', 'IQ4_XS', 'TQ2_0', 'MXFP4'] as const),
] satisfies GgufQuantizedType[]

/** What weights become: a quantized type, or one of GGUF's, by name. */
export type WeightsType = QType | GgufQuantizedType

/** A quantized type, or one of GGUF's, by name. */
export function weightsType(text: string): WeightsType {
  const gguf = ggufTypes.find((type) => type === text.toUpperCase())
  if (gguf) return gguf
  try {
    return quantizedType(text)
  } catch (error) {
    const { message } = error as Error
    throw new InvalidArgumentError(message.replace(' or fp4.', ', fp4, or of a GGUF file q4_k and its like.'))
  }
}

/** Values with commas between them. */
export function listOf<T>(parse: Parser<T>): Parser<T[]> {
  return (text) => text.split(',').map((part) => parse(part.trim()))
}

/** A value, or null for `none`. */
export function orNone<T>(parse: Parser<T>): Parser<T | null> {
  return (text) => (text === 'none' ? null : parse(text))
}

/** Gathers the values of an option that is given several times. */
export function repeated(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), text]
}

/** The same of whole numbers, 0 or more. */
export function repeatedNumber(text: string, before: number[] | undefined): number[] {
  return [...(before ?? []), wholeNumber(0)(text)]
}

function range(least: number, most: number): string {
  return most === Number.MAX_SAFE_INTEGER ? `${least} or more` : `${least} to ${most}`
}
