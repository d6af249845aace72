import { writeChartedPage } from '../charts/output.ts'
import { formatBytes } from '../output.ts'
import type { ReportData } from './data.ts'
import type { ReportOptions } from './options.ts'
import { reportSections } from './sections.ts'

/**
 * Draws what was measured, and writes it; a file appears whole or not at all.
 * @throws FormatError if something is there that may not be replaced, or the disk refuses
 */
export async function writeReport(data: ReportData, options: ReportOptions): Promise<void> {
  const { model, baseline, scheme, bytes, bitsPerWeight, architecture } = data
  const how = scheme === 'none' ? 'not quantized' : `quantized by ${scheme}`
  const lead = `${architecture}, ${how}: ${formatBytes(bytes)}, ${bitsPerWeight.toFixed(2)} bits per weight, beside ${baseline}.`
  await writeChartedPage(
    (plotting) => ({ title: model, lead, sections: reportSections(plotting, data) }),
    options,
  )
}
