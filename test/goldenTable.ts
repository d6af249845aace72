import { appendFileSync } from 'node:fs'

/** One comparison with what a Python library computed: a line of the table that scripts/golden.mjs prints. */
export interface GoldenRow {
  /** What is compared: a model, a file, an operation. */
  golden: string
  device: string
  /** Which of its values. */
  values: string
  ours: string
  theirs: string
  /** Between the two, as the test measures it. */
  difference: string
  /** The most that the test allows. */
  allowed: string
}

/**
 * Adds a row to the table that LOWBIT_GOLDEN_TABLE names, if it does. Called behind the assertion that it
 * tells of.
 */
export function goldenRow(row: GoldenRow): void {
  const table = process.env.LOWBIT_GOLDEN_TABLE
  if (table) appendFileSync(table, `${JSON.stringify(row)}\n`)
}

/** The row of values that are equal bit for bit. */
export function equalRow(golden: string, device: string, values: string): void {
  goldenRow({ golden, device, values, ours: '', theirs: '', difference: 'equal', allowed: 'equal' })
}

/** The row of one number beside Python's. */
export function numberRow(
  golden: string,
  device: string,
  values: string,
  ours: number,
  theirs: number,
  allowed: string,
): void {
  const difference = `${(100 * Math.abs(ours / theirs - 1)).toFixed(4)} %`
  goldenRow({
    golden,
    device,
    values,
    ours: ours.toPrecision(8),
    theirs: theirs.toPrecision(8),
    difference,
    allowed,
  })
}

/** The row of many values, each within a bound of its own: the largest share of it that any of them took. */
export function boundRow(golden: string, device: string, values: string, share: number): void {
  goldenRow({
    golden,
    device,
    values,
    ours: '',
    theirs: '',
    difference: `${share.toFixed(3)} of the bound`,
    allowed: '1',
  })
}
