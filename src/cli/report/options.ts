import { FormatError } from '../../core/errors.ts'

/** What a report is made of, and where it goes. */
export interface ReportOptions {
  /** A file with text that the models are compared on. */
  text?: string
  /** One HTML file. */
  report?: string
  /** A folder of SVG and PNG files. */
  charts?: string
}

/** Whether more is measured than the errors of weights. */
export function drawsReport({ text, report, charts }: ReportOptions): boolean {
  return [text, report, charts].some((option) => option !== undefined)
}

/** @throws FormatError if there is nothing to compare with */
export function checkReportOptions(options: ReportOptions & { baseline?: string }): void {
  if (!drawsReport(options) || options.baseline !== undefined) return
  const given = (['text', 'report', 'charts'] as const).find((name) => options[name] !== undefined)
  throw new FormatError(`inspect: --${given} must come with --baseline, the float model to compare with`)
}
