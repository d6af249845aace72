import { autoRound, awq, type CalibratedAlgorithm, distilScales, gptq, rotate } from '../../src/index.ts'

/** A row of a table: columns by name. */
export type Row = Record<string, string>

/** What is to be measured. */
export interface Asked {
  bits: readonly number[]
  /** A part of the name of a row. */
  only?: string
}

type Recipe = (bits: number) => CalibratedAlgorithm[]

const solved = (bits: number, scaleSearch: boolean, actOrder: false | 'static') =>
  gptq({ bits, groupSize: 32, symmetric: false, scaleSearch, actOrder })
const best = (bits: number) => solved(bits, true, 'static')

/** What is compared, each with what it adds to the one before. */
export const recipes: readonly [name: string, recipe: Recipe][] = [
  ['rounding', (bits) => [rounding(bits)]],
  ['awq', (bits) => [awq({ bits, groupSize: 32, symmetric: false })]],
  ['gptq', (bits) => [solved(bits, false, false)]],
  ['gptq, columns in order', (bits) => [solved(bits, false, 'static')]],
  ['gptq, scales searched (fast)', (bits) => [best(bits)]],
  ['rotate, gptq', (bits) => [rotate(), best(bits)]],
  ['autoRound', (bits) => [autoRound({ bits, groupSize: 32, symmetric: false, iterations: 100 })]],
  ['gptq, scales trained', (bits) => [best(bits), distilScales({ steps: 200 })]],
  ['gptq, rounding trained (good)', (bits) => [best(bits), distilScales({ steps: 100, rounding: true })]],
  [
    'gptq, rounding trained longer (best)',
    (bits) => [best(bits), distilScales({ steps: 400, rounding: true })],
  ],
]

function rounding(bits: number): CalibratedAlgorithm {
  const [weights] = [`int${bits}`] as ('int2' | 'int3' | 'int4')[]
  return { name: 'rounding', options: { weights, groupSize: 32, zeroPoints: true, scaleDtype: 'float16' } }
}

/** A row of each recipe that was asked for; a cell of each number of bits, from `measure`. */
export async function rowsOf(
  { bits, only }: Asked,
  float: string,
  measure: (algorithm: CalibratedAlgorithm[]) => Promise<string>,
): Promise<Row[]> {
  const rows: Row[] = [{ algorithm: 'float32', ...columns(bits, () => float), seconds: '' }]
  for (const [name, recipe] of recipes) {
    if (only && !name.includes(only)) continue
    const cells: string[] = []
    const start = performance.now()
    for (const each of bits) cells.push(await measure(recipe(each)))
    const seconds = (performance.now() - start) / 1000 / bits.length
    rows.push({ algorithm: name, ...columns(bits, (i) => cells[i]), seconds: seconds.toFixed(0) })
    console.error(Object.values(rows.at(-1) ?? {}).join('  '))
  }
  return rows
}

function columns(bits: readonly number[], cell: (i: number) => string): Row {
  return Object.fromEntries(bits.map((each, i) => [`${each} bits`, cell(i)]))
}
