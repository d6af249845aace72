import { join } from 'node:path'
import { FormatError } from '../../core/errors.ts'
import { checkSaveTarget, saveFolder } from '../../formats/atomicFolder.node.ts'
import { type Chart, lightPalette } from './chart.ts'
import { loadPeer, loadPeers } from './plotting.ts'

/** What is used of `@resvg/resvg-js`. */
interface Resvg {
  Resvg: new (svg: string, options: object) => { render(): { asPng(): Uint8Array } }
}

/** What a figure is called while it is written. */
const draft = 'figure'

/**
 * Asks before anything is measured whether `writeFigure` may write there.
 * @throws FormatError if the file may not be replaced, its name ends otherwise than in .svg or .png, or a package
 * that draws is not installed
 */
export async function checkFigure(path: string, overwrite = false): Promise<void> {
  if (!/\.(svg|png)$/i.test(path))
    throw new FormatError(`--figure: the file must end in .svg or .png; received ${path}`)
  await checkSaveTarget(path, { file: draft, overwrite: overwrite ? () => true : undefined })
  await loadPeers({ charts: path })
}

/** Writes one chart as SVG or PNG, as the file's name ends; it appears whole or not at all. */
export async function writeFigure(path: string, chart: Chart, overwrite = false): Promise<void> {
  const svg = chart.draw(lightPalette)
  const bytes = /\.svg$/i.test(path) ? new TextEncoder().encode(svg) : await pngOf(svg)
  await saveFolder(
    path,
    async (sink) => {
      const file = await sink.create(draft)
      await file.write(bytes).finally(() => file.close())
    },
    { file: draft, overwrite: overwrite ? () => true : undefined },
  )
}

/** Twice as large, on white. */
async function pngOf(svg: string): Promise<Uint8Array> {
  const { Resvg } = await loadPeer<Resvg>('@resvg/resvg-js')
  return new Resvg(svg, { background: '#ffffff', fitTo: { mode: 'zoom', value: 2 } }).render().asPng()
}

/** Whether a file is a chart as `writeCharts` names them. */
export function isChartFile(name: string): boolean {
  return /^[\w-]+\.(svg|png)$/.test(name)
}

/**
 * Writes each chart as NAME.svg and NAME.png, which is twice as large, on white; the folder appears whole or not
 * at all.
 * @param overwrite replaces a folder that holds nothing but charts
 * @returns the paths
 * @throws FormatError if the optional peer that makes pictures is not installed, or the folder holds what may
 * not be replaced
 */
export async function writeCharts(
  folder: string,
  charts: readonly Chart[],
  overwrite = false,
): Promise<string[]> {
  const files: { name: string; bytes: Uint8Array }[] = []
  for (const chart of charts) {
    const svg = chart.draw(lightPalette)
    files.push({ name: `${chart.name}.svg`, bytes: new TextEncoder().encode(svg) })
    files.push({ name: `${chart.name}.png`, bytes: await pngOf(svg) })
  }
  await saveFolder(
    folder,
    async (sink) => {
      for (const { name, bytes } of files) {
        const file = await sink.create(name)
        await file.write(bytes).finally(() => file.close())
      }
    },
    { overwrite: overwrite ? isChartFile : undefined },
  )
  return files.map(({ name }) => join(folder, name))
}
