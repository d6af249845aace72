import { spawn } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { FormatError } from '../core/errors.ts'
import type { Evaluation } from './evaluate.ts'
import { interrupted } from './interrupt.ts'
import type { SweepCommandOptions } from './sweep.ts'

/** What becomes of the model: all null, and it stays as it is. */
export interface Configuration {
  name: string
  weights: string | null
  activations: string | null
  /** Several with a + between them. */
  algorithm: string | null
  /** Whether a text has to pass through the model. */
  calibrated: boolean
}

/** What was measured of a configuration, or why it could not be. */
export interface Row extends Omit<Configuration, 'calibrated'> {
  /** Of all weights, as `lowbit inspect` counts them. */
  bytes?: number
  bitsPerWeight?: number
  perplexity?: number
  perplexityInterval?: [number, number]
  lambadaAccuracy?: number
  lambadaInterval?: [number, number]
  msPerToken?: number
  firstTokenMs?: number
  prefillTokensPerSecond?: number
  /** Of a process that loads the model and generates. */
  peakMemoryBytes?: number
  error?: string
}

/**
 * Measures a configuration by the commands `quantize`, `inspect`, `evaluate` and `bench`, each in a process of
 * its own, so that its memory is that of the quantized model alone.
 * @throws FormatError if the float model cannot be measured
 */
export async function measure(
  model: string,
  configuration: Configuration,
  options: SweepCommandOptions,
): Promise<Row> {
  const { calibrated, ...named } = configuration
  const { weights, activations } = named
  const algorithm = named.algorithm?.replaceAll('+', ',')
  const folder = weights === null ? model : join(options.out, 'model')
  const common = words({ device: options.device, threads: options.threads, dtype: options.dtype })
  const compute = words({ 'compute-dtype': options.computeDtype, kv: options.kv })
  try {
    if (weights !== null)
      await command('quantize', [
        ...[model, ...common, ...words({ weights, activations, algorithm, out: folder })],
        ...words({ calibration: calibrated ? options.calibration : undefined }),
        ...(options.exclude ?? []).flatMap((glob) => ['--exclude', glob]),
        '--overwrite',
      ])
    const held = await command('inspect', [folder, ...common])
    const { text, lambada, limit, context } = options
    const scores: Evaluation = await command('evaluate', [
      ...[folder, ...common, ...compute, ...words({ text, lambada, limit, context })],
    ])
    const speed = await command('bench', [
      ...[folder, ...common, ...compute],
      ...words({ 'prompt-tokens': options.promptTokens, 'new-tokens': options.newTokens }),
    ])
    const [lastWords] = scores.tasks ?? []
    return {
      ...named,
      ...{ bytes: held.bytes, bitsPerWeight: held.bitsPerWeight },
      ...{ perplexity: scores.perplexity, perplexityInterval: scores.perplexityInterval },
      ...{ lambadaAccuracy: lastWords?.accuracy, lambadaInterval: lastWords?.accuracyInterval },
      ...{ msPerToken: speed.msPerToken, firstTokenMs: speed.firstTokenMs },
      ...{
        prefillTokensPerSecond: speed.prefillTokensPerSecond,
        peakMemoryBytes: speed.peakMemoryBytes,
      },
    }
  } catch (error) {
    interrupted.throwIfAborted()
    // What the float model fails by, all would.
    if (weights === null || !(error instanceof FormatError)) throw error
    return { ...named, error: error.message }
  } finally {
    if (weights !== null) await rm(folder, { recursive: true, force: true })
  }
}

/** Options as the command line writes them; what is not set is left out. */
function words(options: Record<string, string | number | null | undefined>): string[] {
  return Object.entries(options).flatMap(([name, value]) =>
    value === null || value === undefined ? [] : [`--${name}`, String(value)],
  )
}

/**
 * What a command of this program prints as JSON.
 * @throws FormatError with its message, where it fails
 */
async function command(name: string, args: readonly string[]) {
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1], name, ...args, '--json'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: interrupted,
  })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (piece: string) => (stdout += piece))
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (stderr += piece))
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  if (code === 0) return JSON.parse(stdout)
  throw new FormatError(stderr.trim().replace(/^lowbit: /, '') || `${name}: the process ended with ${code}`)
}
