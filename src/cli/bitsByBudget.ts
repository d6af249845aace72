import { FormatError, ShapeError } from '../core/errors.ts'
import { several } from '../core/lists.ts'
import { asQType, qint8, unsignedType } from '../core/qtype.ts'
import { type ChosenBits, chooseBits, type LayerChoice } from '../evaluate/chooseBits.ts'
import { writingSchemes } from '../formats/schemes/targets.ts'
import type { CausalLM } from '../models/causalLM.ts'
import type { CalibratedAlgorithmName } from '../quantize/algorithms/index.ts'
import type { CalibratedAlgorithm } from '../quantize/calibrated/algorithm.ts'
import type { LayerOverride } from '../quantize/overrides.ts'
import { interrupted } from './interrupt.ts'
import { formatBytes, printTable, progressBar } from './output.ts'
import type { QuantizeCommandOptions } from './quantize.ts'

/** What bits are chosen for; at most one of them is given. */
export interface BudgetOptions {
  targetBits?: number
  targetSize?: number
  maxKl?: number
  /** Sizes of groups among which layers are given theirs. */
  groupSizes?: number[]
}

/** Whether a command has a budget. @throws FormatError if it has several, or one beside `--weights` */
export function hasBudget({
  targetBits,
  targetSize,
  maxKl,
  groupSizes,
  weights,
}: QuantizeCommandOptions): boolean {
  const budgets = Object.entries({
    '--target-bits': targetBits,
    '--target-size': targetSize,
    '--max-kl': maxKl,
  })
  const given = budgets.filter(([, value]) => value !== undefined).map(([name]) => name)
  const all = weights === undefined ? given : ['--weights', ...given]
  if (all.length !== 1)
    throw new FormatError(
      `quantize: one of --weights, --target-bits, --target-size and --max-kl must be given; received ${several(all) || 'none'}`,
    )
  if (groupSizes && given.length === 0)
    throw new FormatError(
      'quantize: --group-sizes goes with --target-bits, --target-size or --max-kl; received none of them',
    )
  return given.length === 1
}

/** GGUF's types, of which those of blocks of 256 become others where columns are fewer. */
const ggufTypes = ['Q2_K', 'Q3_K', 'IQ4_XS', 'Q4_K', 'Q5_K', 'Q6_K', 'Q8_0'] as const

/**
 * What layers may become: types of the format, and where none is named, of most formats.
 * @throws ShapeError if it has none to choose from
 */
export function candidatesOfFormat(
  { format, groupSizes }: QuantizeCommandOptions,
  names: readonly CalibratedAlgorithmName[],
): LayerOverride[] {
  if (names.includes('imatrix')) {
    if (!groupSizes) return ggufTypes.map((type) => ({ type }))
    throw new ShapeError("quantize: GGUF's types have groups of their own; leave --group-sizes out")
  }
  // What GPTQ and others choose stands in GGUF's blocks of 32 around 0.
  const blocks = format === 'gguf' ? { groupSize: 32, symmetric: true } : {}
  const bits = bitsOfFormat(format).map((each) => ({ bits: each, ...blocks }))
  return groupSizes?.flatMap((groupSize) => bits.map((each) => ({ ...each, groupSize }))) ?? bits
}

function bitsOfFormat(format: string | undefined): number[] {
  if (format === 'gguf') return [4, 5, 8]
  const writer = writingSchemes().find(({ name }) => name === format)?.writer
  if (!writer) return [2, 3, 4, 8]
  const held = [2, 3, 4, 5, 6, 8].filter((each) =>
    writer.types.some((type) => type === unsignedType(each) || (each === 8 && type === qint8)),
  )
  if (held.length > 1) return held
  throw new ShapeError(
    `quantize: a format must hold integers of several bits to choose from; ${format} has ${held.length === 0 ? 'none' : `${held[0]} alone`}`,
  )
}

/**
 * Chooses the bits of each layer for the budget, and prints them as a table, with the curve that led there.
 */
export async function bitsByBudget(
  model: CausalLM,
  { names, algorithm }: QuantizesBy,
  data: readonly (readonly number[])[],
  options: QuantizeCommandOptions,
): Promise<ChosenBits> {
  const { targetBits, targetSize, maxKl, include, exclude, overrides, json } = options
  const bar = await progressBar('sensitivity', options)
  const chosen = await chooseBits(model, {
    ...{ algorithm, data, targetBits, targetSize, maxKl, include, exclude, overrides },
    candidates: candidatesOfFormat(options, names),
    signal: interrupted,
    onProgress: (done, total, path) => bar.update(done, total, path),
  }).finally(bar.stop)
  if (!json) await printChosen(chosen)
  return chosen
}

/** Algorithms, and their names. */
export interface QuantizesBy {
  names: readonly CalibratedAlgorithmName[]
  algorithm: readonly CalibratedAlgorithm[]
}

async function printChosen(chosen: ChosenBits): Promise<void> {
  const { layers, curve, bitsPerWeight, bytes, klDivergence } = chosen
  const all = layers.flatMap(({ choices }) => choices.map(({ override }) => showOverride(override)))
  const names = [...new Set(all)]
  await printTable(
    [
      { head: 'layer' },
      { head: 'chosen', numeric: true },
      { head: 'bits, with scales', numeric: true },
      ...names.map((name) => ({ head: `KL at ${name}`, numeric: true })),
    ],
    layers.map((layer) => [
      ...[layer.path, showOverride(taken(layer).override), taken(layer).bitsPerWeight.toFixed(2)],
      ...names.map((name) => divergenceAt(layer, name)),
    ]),
  )
  process.stdout.write('\n')
  await printTable(
    [
      { head: 'bits per weight', numeric: true },
      { head: 'size', numeric: true },
      { head: 'KL, summed', numeric: true },
      { head: '' },
    ],
    shown(chosen).map((point) => [
      point.bitsPerWeight.toFixed(2),
      formatBytes(point.bytes),
      point.loss.toFixed(4),
      bar(point.loss, curve[0].loss),
    ]),
  )
  const kl = klDivergence === null ? '' : `, KL ${klDivergence.toFixed(4)} of all together`
  process.stdout.write(
    `\nchosen: ${bitsPerWeight.toFixed(2)} bits per weight, ${formatBytes(bytes)}${kl}\n\n`,
  )
}

/** `4 bits`; with groups of 32 `4 bits g32`; one of GGUF's types by name */
function showOverride({ type, bits, weights, groupSize }: LayerOverride): string {
  const name = type ?? (bits === undefined ? weights && asQType(weights).name : `${bits} bits`) ?? 'as all'
  return `${name}${groupSize ? ` g${groupSize}` : ''}`
}

function taken({ choices, chosen }: LayerChoice): LayerChoice['choices'][number] {
  return choices[chosen]
}

function divergenceAt({ choices }: LayerChoice, name: string): string {
  const found = choices.find(({ override }) => showOverride(override) === name)
  return found ? (found.klDivergence ?? 0).toFixed(5) : ''
}

/** Points of the curve, evenly apart in bits, as many as a screen has room for. */
function shown({ curve }: ChosenBits): ChosenBits['curve'] {
  const rows = 12
  const [first, last] = [curve[0].bitsPerWeight, (curve.at(-1) ?? curve[0]).bitsPerWeight]
  const places = Array.from({ length: rows }, (_, i) => first + ((last - first) * i) / (rows - 1))
  return [
    ...new Set(
      places.map((place) => curve.findLast((point) => point.bitsPerWeight <= place + 1e-9) ?? curve[0]),
    ),
  ]
}

/** The logarithm of a loss as a bar, of 30 columns from a thousandth of the largest up. */
function bar(loss: number, largest: number): string {
  const share = loss > 0 ? 1 + Math.log10(loss / largest) / 3 : 0
  return '█'.repeat(Math.max(0, Math.round(30 * share)))
}
