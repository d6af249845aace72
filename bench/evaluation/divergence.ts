import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { evaluationTokens } from '../../src/evaluate/perplexity.ts'
import {
  type CausalLM,
  type ComputeDType,
  loadCausalLM,
  ops,
  type Perplexity,
  perplexity,
  scope,
} from '../../src/index.ts'
import { measuredLines } from './lines.ts'
import { basePerplexity, context, divergence, type Figure, tokensIn } from './llamaCpp.ts'
import { cache, type Row, type Run, root, smollm2, texts } from './run.ts'

/** Bytes of the text's beginning that are measured. */
const textBytes = 40_000
const models = join(cache, 'evaluation/models')

/** A model of weights that are quantized, and how both programs compute with them. */
interface Case {
  label: string
  /** The file that llama.cpp runs, and the one that lowbit runs, which stand for the same weights. */
  theirs: string
  ours: string
  computeDtype: ComputeDType
}

/**
 * Perplexity, KL divergence from the float model and top-1 agreement by llama.cpp's definition, of SmolLM2 and of
 * the model in the package, by lowbit and by llama-perplexity on the same files.
 */
export async function divergenceRows(run: Run): Promise<Row[]> {
  mkdirSync(models, { recursive: true })
  const written = join(cache, `evaluation/text-${textBytes}.txt`)
  writeFileSync(written, readFileSync(texts.wikitext).subarray(0, textBytes))
  const q41 = smollm2()
  const floats = convert(q41, 'f32', 'smollm2-f32')
  const q40 = convert(floats, 'q4_0', 'smollm2-q4_0')
  const cases: Case[] = [
    { label: 'Q4_1, computed in int8', theirs: q41, ours: q41, computeDtype: 'int8' },
    {
      label: 'Q4_0, as floats',
      theirs: convert(q40, 'f32', 'smollm2-q4_0-f32'),
      ours: q40,
      computeDtype: 'float32',
    },
  ]
  const stories = convert(join(root, 'models/stories260K'), 'f32', 'stories260K-f32')
  return [
    ...(await floatRows(run, 'SmolLM2-135M', 'smollm2-f32', floats, written)),
    ...(await quantizedRows(run, cases, floats, written)),
    ...(await floatRows(
      run,
      'stories260K',
      'stories260K-f32',
      stories,
      join(root, 'models/tinystories.txt'),
    )),
  ]
}

/** A GGUF file of this type, written unless it is there. */
function convert(model: string, type: string, name: string): string {
  const path = join(models, `${name}.gguf`)
  if (existsSync(path)) return path
  const cli = join(root, 'src/cli/main.ts')
  const args = ['convert', model, '--to', `gguf:${type}`, '--out', path]
  execFileSync(process.execPath, ['--conditions=lowbit-source', cli, ...args], { stdio: ['ignore', 2, 2] })
  return path
}

/** Where llama.cpp's logits of a model lie. */
const logitsOf = (name: string) => join(models, `${name}.logits`)

async function floatRows(run: Run, label: string, name: string, file: string, text: string): Promise<Row[]> {
  const theirs = basePerplexity(name, file, text, logitsOf(name))
  const model = await loadCausalLM(file, { device: run.device })
  checkTokens(evaluationTokens(model, readFileSync(text, 'utf8'), 'llama.cpp'), tokensIn(logitsOf(name)))
  const [ours] = await measuredLines(join(cache, `evaluation/lowbit-${name}.jsonl`), 1, run.resume, () =>
    perplexity(model, readFileSync(text, 'utf8'), { context, definition: 'llama.cpp' }),
  )
  model.dispose()
  return [row(`${label}, float32`, 'perplexity', theirs, exponential(nllOf(ours)), 4)]
}

async function quantizedRows(run: Run, cases: readonly Case[], floats: string, text: string): Promise<Row[]> {
  const baseline = await loadCausalLM(floats, { device: run.device })
  const [rows, logits]: [Row[], string] = [[], logitsOf('smollm2-f32')]
  for (const { label, theirs: file, ours: path, computeDtype } of cases) {
    const name = basename(file, '.gguf')
    const theirs = divergence(name, file, text, logits)
    const model = await loadCausalLM(path, { device: run.device })
    const [ours] = await measuredLines(join(cache, `evaluation/lowbit-${name}.jsonl`), 1, run.resume, () =>
      perplexity(model, readFileSync(text, 'utf8'), {
        ...{ context, definition: 'llama.cpp', baseline, computeDtype },
      }),
    )
    const { klDivergence = 0, klDivergenceError = 0, top1Agreement = 0, top1AgreementError = 0 } = ours
    const kl = { value: klDivergence, error: klDivergenceError }
    const agreement = { value: top1Agreement, error: top1AgreementError }
    rows.push(
      row(`SmolLM2-135M, ${label}`, 'perplexity', theirs.perplexity, exponential(nllOf(ours)), 4),
      row('', 'KL divergence', theirs.klDivergence, kl, 6),
      row('', 'same token, %', inPercent(theirs.top1Agreement), inPercent(agreement), 3),
    )
    // Rounded otherwise, a window's figures differ as chance has it.
    if (computeDtype === 'float32') {
      const ids = tokensIn(logits).slice(0, context)
      const kept = join(cache, `evaluation/lowbit-${name}-first.jsonl`)
      const [first] = await measuredLines(kept, 1, run.resume, () => cutDivergence(baseline, model, ids))
      const figure = 'KL divergence of the first window, without rare tokens'
      rows.push({ model: '', figure, 'llama.cpp': theirs.firstWindow.toFixed(5), lowbit: first.toFixed(5) })
    }
    model.dispose()
  }
  baseline.dispose()
  return rows
}

/** Less likely tokens, in nats, llama.cpp leaves out. */
const leastLikely = -16

/** Mean KL divergence over the second half of a window, of tokens that the baseline deems possible. */
async function cutDivergence(baseline: CausalLM, model: CausalLM, ids: readonly number[]): Promise<number> {
  const [p, q] = [await logProbabilities(baseline, ids), await logProbabilities(model, ids)]
  let sum = 0
  for (const [i, log] of p.entries()) if (log > leastLikely) sum += Math.exp(log) * (log - q[i])
  return sum / (p.length / model.config.vocabularySize)
}

/** Of every token after those of the second half but the last. */
async function logProbabilities(model: CausalLM, ids: readonly number[]): Promise<Float32Array> {
  const size = model.config.vocabularySize
  const logs = scope(() => ops.logSoftmax(model.forward(ids)))
  const values = (await logs.read()) as Float32Array
  logs.dispose()
  return values.subarray((ids.length / 2) * size, values.length - size)
}

/** @throws Error unless lowbit's tokens begin as those of llama.cpp's windows */
function checkTokens(ours: readonly number[], theirs: readonly number[]): void {
  if (theirs.some((id, i) => id !== ours[i]))
    throw new Error('bench:evaluation: the tokens must be those of llama.cpp; they differ')
}

function nllOf({ nll, nllError }: Perplexity): Figure {
  return { value: nll, error: nllError }
}

/** exp of a figure, and its error in first order. */
function exponential({ value, error }: Figure): Figure {
  return { value: Math.exp(value), error: Math.exp(value) * error }
}

function inPercent({ value, error }: Figure): Figure {
  return { value: 100 * value, error: 100 * error }
}

function row(model: string, figure: string, theirs: Figure, ours: Figure, digits: number): Row {
  const text = ({ value, error }: Figure) => `${value.toFixed(digits)} ± ${error.toFixed(digits)}`
  return { model, figure, 'llama.cpp': text(theirs), lowbit: text(ours) }
}
