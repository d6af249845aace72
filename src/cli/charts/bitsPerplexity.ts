import type { Chart } from './chart.ts'
import { dots } from './dots.ts'
import type { Plotting } from './plotting.ts'

/** A model, or a way to quantize it. */
export interface BitsPerplexity {
  label: string
  /** Of weights, scales included. */
  bitsPerWeight: number
  perplexity: number
  /** Those of one have one colour. */
  series?: string
}

/** Of the float model's perplexity: what lies farther is broken, and would hide what others differ by. */
export const mostTimes = 5

/** Bits per weight against perplexity, the float model first; what is broken is only named. */
export function bitsPerplexity(
  plotting: Plotting,
  name: string,
  caption: string,
  rows: readonly BitsPerplexity[],
): Chart {
  const most = mostTimes * (rows[0]?.perplexity ?? Number.NaN)
  const absent = rows.filter(({ perplexity }) => !(perplexity <= most))
  const far = `Far above: ${absent.map(({ label, perplexity }) => `${label} (${Number(perplexity.toPrecision(3))})`).join(', ')}.`
  return dots(plotting, {
    name,
    title: 'Bits against perplexity',
    caption: absent.length > 0 ? `${caption} ${far}` : caption,
    x: { label: 'bits per weight', log: 2 },
    y: { label: 'perplexity' },
    rows: rows
      .filter((row) => !absent.includes(row))
      .map(({ label, bitsPerWeight, perplexity, series }) => ({
        ...{ x: bitsPerWeight, y: perplexity, label, series },
      })),
  })
}
