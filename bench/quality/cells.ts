import { type Module, QTensor, QWeightModule } from '../../src/index.ts'
import { type Recipe, recipes } from './recipes.ts'

/** What one recipe made of one model at one number of bits. */
export interface Cell {
  algorithm: string
  bits: number
  /** Of the quantized weights, scales and zero points counted. */
  bitsPerWeight: number
  value: number
  /** CPU time of the quantization, of all threads together. */
  seconds: number
}

/** What a model loses, or what it gets right. */
export type Figure = 'perplexity' | 'KL' | 'right of 200'

/** All that is known of a model. */
export interface Measured {
  figure: Figure
  float: number
  cells: Cell[]
}

/** What is to be measured. */
export interface Asked {
  bits: readonly number[]
  /** The name of a recipe, or a part of several. */
  only?: string
  /** Hears of each cell as soon as it is there. */
  onCell(float: number, figure: Figure, cell: Cell): void
}

/** A model that is quantized again and again. */
export interface Trials {
  figure: Figure
  float: number
  recipes: readonly Recipe[]
  /** Quantizes a fresh copy and says what it then loses. */
  measure(recipe: Recipe, bits: number): Promise<Omit<Cell, 'algorithm' | 'bits'>>
}

/** A cell of each recipe and each number of bits that was asked for. */
export async function measureCells({ bits, only = '', onCell }: Asked, trials: Trials): Promise<void> {
  const named = trials.recipes.filter(({ name }) => name === only)
  const some = trials.recipes.filter(({ name }) => name.includes(only))
  for (const recipe of named.length > 0 ? named : some)
    for (const each of bits) {
      const measured = await trials.measure(recipe, each)
      onCell(trials.float, trials.figure, { algorithm: recipe.name, bits: each, ...measured })
    }
}

/** The cell comes into the place of one of the same recipe and bits; all are in the order of the recipes. */
export function withCell(cells: readonly Cell[], cell: Cell): Cell[] {
  const others = cells.filter(({ algorithm, bits }) => algorithm !== cell.algorithm || bits !== cell.bits)
  const all = [...others, cell].sort((a, b) => b.bits - a.bits)
  return recipes.flatMap(({ name }) => all.filter(({ algorithm }) => algorithm === name))
}

/** CPU seconds that a process takes for something, on all its threads. */
export async function cpuSeconds(work: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1e6
}

/** Bits of a quantized weight with scales and zero points, as GPTQ's files hold them: zero points in the bits of codes. */
export function bitsPerWeight(model: Module): number {
  const weights = [...model.namedModules()].flatMap(([, module]) =>
    module instanceof QWeightModule && module.weight instanceof QTensor ? [module.weight] : [],
  )
  const bits = weights.map(({ byteLength, qtype, shape: [rows], numel, groupSize, hasZeroPoints }) => {
    const zeroPoints = hasZeroPoints ? rows * Math.ceil(numel / rows / groupSize) : 0
    return 8 * byteLength - (8 - qtype.bits) * zeroPoints
  })
  return sum(bits) / sum(weights.map(({ numel }) => numel))
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
