import { FormatError } from '../../core/errors.ts'
import { checkSaveTarget } from '../../formats/atomicFolder.node.ts'
import { isChartFile } from '../charts/files.ts'

/** What a report is made of, and where it goes. */
export interface ReportOptions {
  /** A file with text that the models are compared on. */
  text?: string
  /** One HTML file. */
  report?: string
  /** A folder of SVG and PNG files. */
  charts?: string
  /** Replaces the file and the folder of charts that are there. */
  overwrite?: boolean
}

/** Whether more is measured than the errors of weights. */
export function drawsReport({ text, report, charts }: ReportOptions): boolean {
  return [text, report, charts].some((option) => option !== undefined)
}

/**
 * Asks before anything is measured.
 * @throws FormatError if there is nothing to compare with, or what is there may not be replaced
 */
export async function checkReportOptions(options: ReportOptions & { baseline?: string }): Promise<void> {
  if (!drawsReport(options)) return
  const { report, charts, overwrite, baseline } = options
  if (baseline === undefined) {
    const given = (['text', 'report', 'charts'] as const).find((name) => options[name] !== undefined)
    throw new FormatError(`inspect: --${given} must come with --baseline, the float model to compare with`)
  }
  if (report !== undefined)
    await checkSaveTarget(report, { file: reportFile, overwrite: overwrite ? () => true : undefined })
  if (charts !== undefined) await checkSaveTarget(charts, { overwrite: overwrite ? isChartFile : undefined })
}

/** What the page is called while it is written. */
export const reportFile = 'report.html'
