import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Chart, lightPalette } from './chart.ts'
import { loadPeer } from './plotting.ts'

/** What is used of `@resvg/resvg-js`. */
interface Resvg {
  Resvg: new (svg: string, options: object) => { render(): { asPng(): Uint8Array } }
}

/**
 * Writes each chart as NAME.svg and NAME.png, which is twice as large, on white.
 * @returns the paths
 * @throws FormatError if the optional peer that makes pictures is not installed
 */
export async function writeCharts(folder: string, charts: readonly Chart[]): Promise<string[]> {
  const { Resvg } = await loadPeer<Resvg>('@resvg/resvg-js')
  await mkdir(folder, { recursive: true })
  const paths: string[] = []
  for (const chart of charts) {
    const svg = chart.draw(lightPalette)
    const options = { background: '#ffffff', fitTo: { mode: 'zoom', value: 2 } }
    const png = new Resvg(svg, options).render().asPng()
    for (const [ending, bytes] of [
      ['svg', svg],
      ['png', png],
    ] as const) {
      const path = join(folder, `${chart.name}.${ending}`)
      await writeFile(path, bytes)
      paths.push(path)
    }
  }
  return paths
}
