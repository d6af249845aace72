import type { Cell, Figure, Measured } from './cells.ts'
import { recipes } from './recipes.ts'

/** A row of a table: columns by name. */
export type Row = Record<string, string>

const allBits = [4, 3, 2]

/** A row of each algorithm: what the model then gives, and the CPU time of one quantization. */
export function tableOf({ figure, float, cells }: Measured): Row[] {
  const row = (algorithm: string, cell: (bits: number) => string, seconds: string): Row => ({
    algorithm,
    ...Object.fromEntries(allBits.map((bits) => [columnOf(figure, bits), cell(bits)])),
    'CPU seconds': seconds,
  })
  const rows = [row('float32', () => shown(figure, float), '')]
  for (const own of byAlgorithm(cells)) {
    const cell = (bits: number) => own.find((each) => each.bits === bits)
    const mean = own.reduce((sum, { seconds }) => sum + seconds, 0) / own.length
    const value = (bits: number) => {
      const found = cell(bits)
      return found ? shown(figure, found.value) : ''
    }
    rows.push(row(own[0].algorithm, value, mean < 10 ? mean.toFixed(1) : mean.toFixed(0)))
  }
  return rows
}

/**
 * What is left of what rounding loses, in percent, a row of each algorithm: of the logarithm of perplexity over the
 * float model's, or of KL.
 */
export function sharesOf(models: Readonly<Record<string, Measured>>): Row[] {
  const measured = new Set(
    Object.values(models).flatMap(({ cells }) => cells.map(({ algorithm }) => algorithm)),
  )
  const names = recipes.map(({ name }) => name).filter((name) => measured.has(name))
  return names.map((algorithm) => {
    const shares = Object.entries(models).flatMap(([model, measured]) =>
      allBits.map((bits) => [`${model}, ${bits} bits`, shareOf(measured, algorithm, bits)]),
    )
    return { algorithm, ...Object.fromEntries(shares) }
  })
}

function shareOf({ figure, float, cells }: Measured, algorithm: string, bits: number): string {
  const loss = (name: string) => {
    const { value = Number.NaN } = cells.find((cell) => cell.algorithm === name && cell.bits === bits) ?? {}
    return figure === 'perplexity' ? Math.log(value / float) : value
  }
  const share = (100 * loss(algorithm)) / loss('rounding')
  return Number.isNaN(share) ? '' : `${share < 10 ? share.toFixed(1) : share.toFixed(0)} %`
}

function byAlgorithm(cells: readonly Cell[]): Cell[][] {
  const names = [...new Set(cells.map(({ algorithm }) => algorithm))]
  return names.map((name) => cells.filter(({ algorithm }) => algorithm === name))
}

function columnOf(figure: Figure, bits: number): string {
  return figure === 'right of 200' && bits === 4 ? '4 bits, int8 activations' : `${bits} bits`
}

function shown(figure: Figure, value: number): string {
  if (figure === 'right of 200') return String(value)
  if (figure === 'KL') return value.toFixed(5)
  return value < 100 ? value.toFixed(3) : value.toFixed(1)
}
