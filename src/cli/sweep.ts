import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { FormatError } from '../core/errors.ts'
import type { QType } from '../core/qtype.ts'
import { errorCode } from '../formats/file.node.ts'
import { JsonObject, parseJsonText, show } from '../formats/json.ts'
import { type AlgorithmName, seesData } from './arguments.ts'
import { type ChartOptions, checkChartOptions, writeChartedPage } from './charts/output.ts'
import { interrupted } from './interrupt.ts'
import type { CommonOptions, ComputeOptions } from './model.ts'
import { formatBytes, printJson, printTable, progressBar } from './output.ts'
import { type Configuration, measure, type Row } from './sweepRow.ts'

export interface SweepCommandOptions extends CommonOptions, ComputeOptions, ChartOptions {
  weights: QType[]
  activations?: (QType | null)[]
  algorithm?: (readonly AlgorithmName[] | null)[]
  calibration?: string
  exclude?: string[]
  text: string
  lambada?: string
  limit?: number
  context?: number
  promptTokens: number
  newTokens: number
  out: string
}

/**
 * `lowbit sweep`: the float model and each configuration, measured one after the other, into a folder:
 * results.json, which grows row by row, so that a sweep that ended early goes on where it was, and results.md;
 * at its end as charts, where they are asked for.
 */
export async function sweepCommand(model: string, options: SweepCommandOptions): Promise<void> {
  const configurations = configurationsOf(options)
  const calibrated = configurations.find((configuration) => configuration.calibrated)
  if (calibrated && options.calibration === undefined)
    throw new FormatError(
      calibrated.activations === null
        ? `sweep: --algorithm ${calibrated.algorithm} needs --calibration FILE, a text that shows what passes through the model; received none`
        : 'sweep: --activations needs --calibration FILE, a text that shows how large they get; received none',
    )
  if ([options.text, options.lambada, options.calibration].includes('-'))
    throw new FormatError('sweep: texts are read once for each configuration, so from files; received stdin')
  await checkChartOptions(options)
  const results = await Results.open(options.out, settingsOf(model, options))
  const bar = await progressBar('sweep', options)
  try {
    bar.update(0, configurations.length)
    for (const [i, configuration] of configurations.entries()) {
      interrupted.throwIfAborted()
      if (!results.has(configuration)) await results.add(await measure(model, configuration, options))
      bar.update(i + 1, configurations.length)
    }
  } finally {
    bar.stop()
  }
  const rows = results.rowsOf(configurations)
  const columns = heads.map((head, i) => ({ head, numeric: i > 0 }))
  const table = { columns, rows: rows.filter((row) => row.error === undefined).map(cells) }
  const { sweepPage } = await import('./sweepCharts.ts')
  await writeChartedPage((plotting) => sweepPage(plotting, results.settings, rows, table), options)
  if (options.json) return printJson({ ...results.settings, rows })
  await printTable(columns, table.rows)
  for (const { name, error } of rows) if (error) process.stdout.write(`${name}: ${error}\n`)
}

/** The float model, then every type of weights with every choice of activations and every algorithm. */
export function configurationsOf({
  weights,
  activations = [null],
  algorithm = [null],
}: Pick<SweepCommandOptions, 'weights' | 'activations' | 'algorithm'>): Configuration[] {
  const all = weights.flatMap((type) =>
    activations.flatMap((inputs) => algorithm.map((names) => ({ type, inputs, names }))),
  )
  const quantized = all.map(({ type, inputs, names }) => {
    const sum = names?.join('+') ?? null
    const name = [type.name, inputs && `activations ${inputs.name}`, sum].filter(Boolean).join(', ')
    const calibrated = inputs !== null || (names ?? []).some(seesData)
    return { name, weights: type.name, activations: inputs?.name ?? null, algorithm: sum, calibrated }
  })
  const float = { name: 'float', weights: null, activations: null, algorithm: null, calibrated: false }
  return [float, ...quantized]
}

/** What rows must have in common. */
function settingsOf(model: string, options: SweepCommandOptions): Record<string, unknown> {
  const { text, lambada, limit, context, calibration, exclude, promptTokens, newTokens } = options
  const { device, threads, dtype, computeDtype, kv } = options
  const data = { text, lambada, limit, context, calibration, exclude, promptTokens, newTokens }
  // As JSON has it: what is not set is not there.
  return JSON.parse(JSON.stringify({ model, ...data, device, threads, dtype, computeDtype, kv }))
}

/** The file of what was measured so far. */
class Results {
  readonly settings: Record<string, unknown>
  private readonly folder: string
  private readonly rows: Row[]

  private constructor(folder: string, settings: Record<string, unknown>, rows: Row[]) {
    this.folder = folder
    this.settings = settings
    this.rows = rows
  }

  /** @throws FormatError if the folder holds results that were measured otherwise, or a table that is none of them */
  static async open(folder: string, settings: Record<string, unknown>): Promise<Results> {
    const path = join(folder, 'results.json')
    const text = await readFile(path, 'utf8').catch((cause: unknown) => {
      if (errorCode(cause) === 'ENOENT') return null
      throw new FormatError(`${path}: must be a file that can be read; ${errorCode(cause)}`, { cause })
    })
    if (text === null) {
      const table = join(folder, 'results.md')
      if (existsSync(table))
        throw new FormatError(
          `${table}: must be the table of results.json, which is not there (take another --out)`,
        )
      return new Results(folder, settings, [])
    }
    const { rows, ...before } = new JsonObject(parseJsonText(text, path), path).toObject()
    const differing = Object.keys({ ...before, ...settings }).find(
      (key) => JSON.stringify(before[key]) !== JSON.stringify(settings[key]),
    )
    if (differing !== undefined || !Array.isArray(rows))
      throw new FormatError(
        `${path}: must hold results of the same settings, to go on with; ${differing ?? 'rows'} is ${show(before[differing ?? 'rows'])} there (take another --out)`,
      )
    return new Results(folder, settings, rows)
  }

  /** Whether a configuration was measured; one that failed is tried again. */
  has({ name }: Configuration): boolean {
    return this.rows.some((row) => row.name === name && row.error === undefined)
  }

  rowsOf(configurations: readonly Configuration[]): Row[] {
    return configurations.flatMap(({ name }) => this.rows.filter((row) => row.name === name))
  }

  async add(row: Row): Promise<void> {
    const before = this.rows.findIndex(({ name }) => name === row.name)
    if (before >= 0) this.rows.splice(before, 1)
    this.rows.push(row)
    await mkdir(this.folder, { recursive: true })
    await this.write('results.json', `${JSON.stringify({ ...this.settings, rows: this.rows }, null, 2)}\n`)
    await this.write('results.md', markdown(this.rows))
  }

  /** Whole or not at all. */
  private async write(file: string, text: string): Promise<void> {
    const path = join(this.folder, file)
    await writeFile(`${path}.new`, text)
    await rename(`${path}.new`, path).catch(async (error: unknown) => {
      await rm(`${path}.new`, { force: true })
      throw error
    })
  }
}

const heads = ['model', 'size', 'bits per weight', 'perplexity', 'lambada', 'ms per token', 'memory']

function cells(row: Row): string[] {
  const half = row.perplexityInterval && (row.perplexityInterval[1] - row.perplexityInterval[0]) / 2
  return [
    row.name,
    formatBytes(row.bytes ?? 0),
    row.bitsPerWeight?.toFixed(2) ?? '',
    `${row.perplexity?.toFixed(3)} ± ${half?.toFixed(3)}`,
    row.lambadaAccuracy === undefined ? '–' : `${(100 * row.lambadaAccuracy).toFixed(1)} %`,
    row.msPerToken?.toFixed(2) ?? '',
    formatBytes(row.peakMemoryBytes ?? 0),
  ]
}

function markdown(rows: readonly Row[]): string {
  const line = (values: readonly string[]) => `| ${values.join(' | ')} |\n`
  const measured = rows.filter(({ error }) => error === undefined).map(cells)
  return [line(heads), line(heads.map((_, i) => (i > 0 ? '--:' : '---'))), ...measured.map(line)].join('')
}
