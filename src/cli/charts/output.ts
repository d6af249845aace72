import { checkSaveTarget, saveFolder } from '../../formats/atomicFolder.node.ts'
import { isChartFile, writeCharts } from './files.ts'
import { chartPage, type PageSection } from './page.ts'
import { loadPeers, loadPlotting, type Plotting } from './plotting.ts'

/** Where charts go. */
export interface ChartOptions {
  /** One HTML file. */
  report?: string
  /** A folder of SVG and PNG files. */
  charts?: string
  /** Replaces the file, and the folder of charts, that are there. */
  overwrite?: boolean
}

/** What is shown as one page, and whose charts become files. */
export interface ChartedPage {
  title: string
  lead: string
  sections: readonly PageSection[]
}

/** What the page is called while it is written. */
const file = 'report.html'

/**
 * Asks before anything is measured.
 * @throws FormatError if what is there may not be replaced, or a package that draws is not installed
 */
export async function checkChartOptions(options: ChartOptions): Promise<void> {
  const { report, charts, overwrite } = options
  if (report !== undefined)
    await checkSaveTarget(report, { file, overwrite: overwrite ? () => true : undefined })
  if (charts !== undefined) await checkSaveTarget(charts, { overwrite: overwrite ? isChartFile : undefined })
  await loadPeers(options)
}

/**
 * Draws the page and its charts where they are asked for; each target appears whole or not at all.
 * @throws FormatError if something is there that may not be replaced, or the disk refuses
 */
export async function writeChartedPage(
  draw: (plotting: Plotting) => ChartedPage,
  { report, charts, overwrite }: ChartOptions,
): Promise<void> {
  if (report === undefined && charts === undefined) return
  const { title, lead, sections } = draw(await loadPlotting())
  if (report !== undefined) {
    const page = new TextEncoder().encode(chartPage(title, lead, sections))
    await saveFolder(
      report,
      async (folder) => {
        const target = await folder.create(file)
        await target.write(page).finally(() => target.close())
      },
      { file, overwrite: overwrite ? () => true : undefined },
    )
  }
  if (charts !== undefined)
    await writeCharts(
      charts,
      sections.flatMap((section) => section.charts ?? []),
      overwrite,
    )
}
