import { writeFile } from 'node:fs/promises'
import { writeCharts } from '../charts/files.ts'
import { chartPage } from '../charts/page.ts'
import { loadPlotting } from '../charts/plotting.ts'
import { formatBytes } from '../output.ts'
import type { ReportData } from './data.ts'
import type { ReportOptions } from './options.ts'
import { reportSections } from './sections.ts'

/** Draws what was measured, and writes it. */
export async function writeReport(data: ReportData, { report, charts }: ReportOptions): Promise<void> {
  const sections = reportSections(await loadPlotting(), data)
  const { model, baseline, scheme, bytes, bitsPerWeight, architecture } = data
  const how = scheme === 'none' ? 'not quantized' : `quantized by ${scheme}`
  const lead = `${architecture}, ${how}: ${formatBytes(bytes)}, ${bitsPerWeight.toFixed(2)} bits per weight, beside ${baseline}.`
  if (report !== undefined) await writeFile(report, chartPage(model, lead, sections))
  if (charts !== undefined)
    await writeCharts(
      charts,
      sections.flatMap((section) => section.charts ?? []),
    )
}
