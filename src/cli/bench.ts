import { bench } from '../evaluate/bench.ts'
import { threadCount } from './generate.ts'
import { interrupted } from './interrupt.ts'
import { type CommonOptions, type ComputeOptions, loadModel, withDevice } from './model.ts'
import { formatBytes, printJson } from './output.ts'

export interface BenchCommandOptions extends CommonOptions, ComputeOptions {
  promptTokens: number
  newTokens: number
}

/** `lowbit bench`: tokens per second, time to the first token, memory. */
export async function benchCommand(path: string, options: BenchCommandOptions): Promise<void> {
  await withDevice(options, async (device) => {
    const started = performance.now()
    const model = await loadModel(path, device, options)
    await device.sync()
    const loadMs = performance.now() - started
    const { promptTokens, newTokens, computeDtype, kv } = options
    const result = await bench(model, { promptTokens, newTokens, computeDtype, kv, signal: interrupted })
    // Linux and macOS both report kibibytes through Node.
    const peakMemoryBytes = process.resourceUsage().maxRSS * 1024
    if (options.json) return printJson({ ...result, peakMemoryBytes, loadMs })
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
      ['load', loadMs.toFixed(0), 'ms'],
      ['cache', ...formatBytes(result.cacheBytes).split(' '), `for keys and values in ${result.kv}`],
      ['memory', ...formatBytes(peakMemoryBytes).split(' '), 'at its peak'],
    ]
    const widest = Math.max(...rows.map(([, figure]) => figure.length))
    for (const [name, figure, ...rest] of rows)
      process.stdout.write(`${name.padEnd(8)} ${figure.padStart(widest)} ${rest.join(' ')}\n`)
    process.stdout.write(
      `${'device'.padEnd(8)} ${device.name}, ${threadCount(device.threads)}, ${result.computeDtype}\n`,
    )
  })
}
