import { join } from 'node:path'
import { saveFolder } from '../../formats/atomicFolder.node.ts'
import { type Chart, lightPalette } from './chart.ts'
import { loadPeer } from './plotting.ts'

/** What is used of `@resvg/resvg-js`. */
interface Resvg {
  Resvg: new (svg: string, options: object) => { render(): { asPng(): Uint8Array } }
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
  const { Resvg } = await loadPeer<Resvg>('@resvg/resvg-js')
  const files = charts.flatMap((chart) => {
    const svg = chart.draw(lightPalette)
    const options = { background: '#ffffff', fitTo: { mode: 'zoom', value: 2 } }
    const png = new Resvg(svg, options).render().asPng()
    return [
      { name: `${chart.name}.svg`, bytes: new TextEncoder().encode(svg) },
      { name: `${chart.name}.png`, bytes: png },
    ]
  })
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
