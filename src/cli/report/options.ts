import { FormatError } from '../../core/errors.ts'
import { type ChartOptions, checkChartOptions } from '../charts/output.ts'

/** What a report is made of, and where it goes. */
export interface ReportOptions extends ChartOptions {
  /** A file with text that the models are compared on. */
  text?: string
  /** How many of its tokens, from the beginning. */
  tokens?: number
}

/** Whether more is measured than the errors of weights. */
export function drawsReport({ text, report, charts }: ReportOptions): boolean {
  return [text, report, charts].some((option) => option !== undefined)
}

/**
 * Asks before anything is measured.
 * @throws FormatError if there is nothing to compare with, what is there may not be replaced, or a package that
 * draws is not installed
 */
export async function checkReportOptions(options: ReportOptions & { baseline?: string }): Promise<void> {
  if (!drawsReport(options)) return
  if (options.baseline === undefined) {
    const given = (['text', 'report', 'charts'] as const).find((name) => options[name] !== undefined)
    throw new FormatError(`inspect: --${given} must come with --baseline, the float model to compare with`)
  }
  await checkChartOptions(options)
}
