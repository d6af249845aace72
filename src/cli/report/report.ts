import { saveFolder } from '../../formats/atomicFolder.node.ts'
import { writeCharts } from '../charts/files.ts'
import { chartPage } from '../charts/page.ts'
import { loadPlotting } from '../charts/plotting.ts'
import { formatBytes } from '../output.ts'
import type { ReportData } from './data.ts'
import { type ReportOptions, reportFile } from './options.ts'
import { reportSections } from './sections.ts'

/**
 * Draws what was measured, and writes it; a file appears whole or not at all.
 * @throws FormatError if something is there that may not be replaced, or the disk refuses
 */
export async function writeReport(
  data: ReportData,
  { report, charts, overwrite }: ReportOptions,
): Promise<void> {
  const sections = reportSections(await loadPlotting(), data)
  const { model, baseline, scheme, bytes, bitsPerWeight, architecture } = data
  const how = scheme === 'none' ? 'not quantized' : `quantized by ${scheme}`
  const lead = `${architecture}, ${how}: ${formatBytes(bytes)}, ${bitsPerWeight.toFixed(2)} bits per weight, beside ${baseline}.`
  if (report !== undefined) {
    const page = new TextEncoder().encode(chartPage(model, lead, sections))
    await saveFolder(
      report,
      async (folder) => {
        const file = await folder.create(reportFile)
        await file.write(page).finally(() => file.close())
      },
      { file: reportFile, overwrite: overwrite ? () => true : undefined },
    )
  }
  if (charts !== undefined)
    await writeCharts(
      charts,
      sections.flatMap((section) => section.charts ?? []),
      overwrite,
    )
}
