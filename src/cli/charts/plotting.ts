import { FormatError } from '../../core/errors.ts'

/** A mark of a chart. */
export type Mark = object

/** What is used of `@observablehq/plot`. */
export interface Plot {
  plot(options: object): { toString(): string }
  barX(data: Iterable<unknown>, options: object): Mark
  rectY(data: Iterable<unknown>, options: object): Mark
  dot(data: Iterable<unknown>, options: object): Mark
  line(data: Iterable<unknown>, options: object): Mark
  text(data: Iterable<unknown>, options: object): Mark
  ruleX(data: Iterable<unknown>, options?: object): Mark
  ruleY(data: Iterable<unknown>, options?: object): Mark
  /** Options of a mark whose places are chosen when scales are known, in pixels. */
  initializer(options: object, place: Placement): object
}

/** Where the values of a mark stand, given its channels as the scales have them, one value for each. */
export type Placement = (
  data: unknown[],
  facets: number[][],
  channels: { x: { value: unknown[]; scale?: string }; y: { value: unknown[]; scale?: string } },
  scales: { x: (value: unknown) => number; y: (value: unknown) => number },
  dimensions: Dimensions,
) => {
  data: unknown[]
  facets: number[][]
  channels: { x: { value: Float64Array }; y: { value: Float64Array } }
}

/** The size of a picture, and what surrounds its frame, in pixels. */
export interface Dimensions {
  width: number
  height: number
  marginLeft: number
  marginRight: number
  marginTop: number
  marginBottom: number
}

/** Draws without a browser. */
export interface Plotting {
  Plot: Plot
  /** A document for SVG elements. */
  document: object
}

/** The optional peers that draw charts. */
export async function loadPlotting(): Promise<Plotting> {
  const Plot = await loadPeer<Plot>('@observablehq/plot')
  const { parseHTML } = await loadPeer<{ parseHTML(html: string): { document: object } }>('linkedom')
  return { Plot, document: parseHTML('<!doctype html><html><body></body></html>').document }
}

/** All that draws charts and makes pictures of them. */
const peers = ['@observablehq/plot', 'linkedom', '@resvg/resvg-js']

/** A package that not everyone needs. @throws FormatError if it is not installed */
export async function loadPeer<Package>(name: string): Promise<Package> {
  try {
    return await import(name)
  } catch (cause) {
    throw new FormatError(
      `charts: ${name} must be installed, which draws them; run npm install ${peers.join(' ')}`,
      { cause },
    )
  }
}

/** Loads what charts in a page, or in files, need. @throws FormatError if it is not installed */
export async function loadPeers({ report, charts }: { report?: string; charts?: string }): Promise<void> {
  if (report !== undefined || charts !== undefined) await loadPlotting()
  if (charts !== undefined) await loadPeer('@resvg/resvg-js')
}
