import { type BenchResult, bench } from '../evaluate/bench.ts'
import { QWeightModule } from '../nn/qmodule.ts'
import { type BenchFormat, type BenchRow, printRows } from './benchTable.ts'
import { checkFigure, writeFigure } from './charts/files.ts'
import { loadPlotting } from './charts/plotting.ts'
import { threadCount } from './generate.ts'
import { interrupted } from './interrupt.ts'
import { type CommonOptions, type ComputeOptions, loadModel, withDevice } from './model.ts'
import { formatBytes, printJson } from './output.ts'

export interface BenchCommandOptions extends CommonOptions, ComputeOptions {
  promptTokens: number
  promptLengths?: number[]
  batchSizes?: number[]
  newTokens: number
  format?: BenchFormat
  /** A file for one figure. */
  figure?: string
  /** Replaces that file. */
  overwrite?: boolean
}

/**
 * `lowbit bench`: tokens per second, time to the first token, memory; in words for one model, one batch size
 * and one length, else a line for each. One figure shows how fast they read and write.
 */
export async function benchCommand(paths: string[], options: BenchCommandOptions): Promise<void> {
  const { figure, overwrite } = options
  if (figure !== undefined) await checkFigure(figure, overwrite)
  await withDevice(options, async (device) => {
    const { promptTokens, promptLengths = [promptTokens], batchSizes = [1] } = options
    const groups: { isFloat: boolean; rows: BenchRow[] }[] = []
    const models = paths.flatMap((path) =>
      (options.fuse ? [false, true] : [false]).map((fuse) => ({ path, fuse })),
    )
    for (const { path, fuse } of models) {
      const started = performance.now()
      using model = await loadModel(path, device, { ...options, fuse })
      await device.sync()
      const loadMs = performance.now() - started
      const modules = [...model.namedModules()].map(([, module]) => module)
      const rows: BenchRow[] = []
      const { newTokens, computeDtype, kv } = options
      for (const batchSize of batchSizes) {
        for (const promptTokens of promptLengths) {
          const sizes = { batchSize, promptTokens, newTokens }
          const result = await bench(model, { ...sizes, computeDtype, kv, signal: interrupted })
          rows.push({ model: path, ...result, loadMs, fused: fuse })
        }
      }
      groups.push({ isFloat: !modules.some((module) => module instanceof QWeightModule), rows })
    }
    const rows = [
      ...groups.filter(({ isFloat }) => isFloat),
      ...groups.filter(({ isFloat }) => !isFloat),
    ].flatMap((group) => group.rows)
    if (figure !== undefined) {
      const { benchFigure } = await import('./benchFigure.ts')
      await writeFigure(figure, benchFigure(await loadPlotting(), rows), overwrite)
    }
    if (options.format || rows.length > 1)
      return printRows(rows, options.json ? 'json' : (options.format ?? 'table'))
    // Linux and macOS both report kibibytes through Node.
    const peakMemoryBytes = process.resourceUsage().maxRSS * 1024
    if (options.json) return printJson({ ...rows[0], peakMemoryBytes })
    printOne({ ...rows[0], peakMemoryBytes })
  })
}

function printOne(result: BenchResult & { loadMs: number; peakMemoryBytes: number }): void {
  const rows = [
    [
      'prefill',
      result.prefillTokensPerSecond.toFixed(1),
      `tokens/s  (${result.promptTokens} tokens, the first new one after ${result.firstTokenMs.toFixed(1)} ms)`,
    ],
    [
      'decode',
      result.decodeTokensPerSecond.toFixed(1),
      `tokens/s  (${result.newTokens} tokens, ${result.msPerToken.toFixed(2)} ms each)`,
    ],
    ['forward', result.forwardMs.toFixed(1), 'ms  (the prompt, with the logits of all its tokens)'],
    ['load', result.loadMs.toFixed(0), 'ms'],
    ['weights', ...formatBytes(result.weightBytes).split(' ')],
    ['cache', ...formatBytes(result.cacheBytes).split(' '), `for keys and values in ${result.kv}`],
    [
      'peak',
      ...formatBytes(result.generatePeakBytes).split(' '),
      `of tensors while generating, ${formatBytes(result.forwardPeakBytes)} in forward`,
    ],
    ['memory', ...formatBytes(result.peakMemoryBytes).split(' '), 'of the process at its peak'],
  ]
  const widest = Math.max(...rows.map(([, figure]) => figure.length))
  for (const [name, figure, ...rest] of rows)
    process.stdout.write(
      `${name.padEnd(8)} ${figure.padStart(widest)} ${rest.join(' ')}`.trimEnd().concat('\n'),
    )
  process.stdout.write(
    `${'device'.padEnd(8)} ${result.device}, ${threadCount(result.threads)}, ${result.computeDtype}\n`,
  )
}
