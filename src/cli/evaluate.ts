import { FormatError } from '../core/errors.ts'
import { evaluateTask, type TaskResult } from '../evaluate/evaluateTask.ts'
import { evaluationTokens, type Perplexity, perplexity } from '../evaluate/perplexity.ts'
import { type TaskName, taskNames } from '../evaluate/tasks.ts'
import type { PerplexityDefinition } from '../evaluate/windows.ts'
import type { CausalLM } from '../models/causalLM.ts'
import { readEvaluationText, readQuestions } from './evaluationData.ts'
import { interrupted, withoutYielding } from './interrupt.ts'
import { type CommonOptions, type ComputeOptions, loadModel, withDevice } from './model.ts'
import { formatCount, printJson, progressBar } from './output.ts'

export interface EvaluateCommandOptions
  extends CommonOptions,
    ComputeOptions,
    Partial<Record<TaskName, string>> {
  text?: string
  definition?: PerplexityDefinition
  baseline?: string
  context?: number
  stride?: number
  limit?: number
}

/** What a model is measured on: all of it is read before the model is. */
export interface EvaluationData {
  text?: string
  questions: Map<TaskName, object[]>
}

/** What was measured, each figure with the bounds that hold 95 % of cases. */
export interface Evaluation extends Partial<Perplexity> {
  perplexityInterval?: Interval
  tasks?: (TaskResult & { accuracyInterval: Interval })[]
}

type Interval = [low: number, high: number]

/**
 * `lowbit evaluate`: perplexity on a text, and with a baseline how far the model strays from it; and how many
 * questions it answers rightly.
 */
export async function evaluateCommand(path: string, options: EvaluateCommandOptions): Promise<void> {
  const data = await readEvaluationData(options)
  await withDevice(options, async (device) => {
    const model = await loadModel(path, device, options)
    const baseline =
      options.baseline === undefined ? undefined : await loadModel(options.baseline, device, options)
    const result = await evaluate(model, path, data, options, baseline)
    if (options.json) return printJson(result)
    process.stdout.write(
      `${[...perplexityLines(result), ...(result.tasks ?? []).map(taskLine)].join('\n')}\n`,
    )
  })
}

/** @throws FormatError if nothing is asked for, or a file is not what it must be */
export async function readEvaluationData(options: EvaluateCommandOptions): Promise<EvaluationData> {
  const asked = taskNames.filter((task) => options[task] !== undefined)
  const { text, baseline, limit } = options
  if (text === undefined && asked.length === 0)
    throw new FormatError(
      `evaluate: there must be something to measure on: --text or ${taskNames.map((task) => `--${task}`).join(', ')}; received none`,
    )
  if (text === undefined && baseline !== undefined)
    throw new FormatError(
      'evaluate: --baseline compares token by token on a text, --text; received questions alone',
    )
  const questions: EvaluationData['questions'] = new Map()
  for (const task of asked) questions.set(task, await readQuestions(task, String(options[task]), limit))
  if (text === undefined) return { questions }
  return { text: await readEvaluationText(text, options), questions }
}

/** Measures a model, called `name` in messages, on all of the data. */
export async function evaluate(
  model: CausalLM,
  name: string,
  { text, questions }: EvaluationData,
  options: EvaluateCommandOptions,
  baseline?: CausalLM,
): Promise<Evaluation> {
  const { tokenizer } = model
  if (!tokenizer)
    throw new FormatError(
      `${name}: must hold a tokenizer, which turns the text into tokens: tokenizer.json, vocab.json and merges.txt, or tokenizer.model; it holds none that can be read`,
    )
  const { definition, context, stride, computeDtype, kv } = options
  const common = { computeDtype, kv, signal: interrupted }
  const result: Evaluation = {}
  if (text !== undefined) {
    const ids = withoutYielding(() => evaluationTokens(model, text, definition ?? 'whole'))
    const bar = await progressBar('evaluate', options)
    const measured = perplexity(model, ids, {
      ...{ ...common, definition, context, stride, baseline, onProgress: bar.update },
    })
    Object.assign(result, await measured.finally(bar.stop))
    const [middle, half] = [Number(result.nll), reach * Number(result.nllError)]
    result.perplexityInterval = [Math.exp(middle - half), Math.exp(middle + half)]
  }
  for (const [task, items] of questions) {
    const bar = await progressBar(task, options)
    const measured = evaluateTask(model, task, items, { ...common, onProgress: bar.update })
    const scores = await measured.finally(bar.stop)
    const accuracyInterval = shareInterval(scores.accuracy, scores.items)
    result.tasks = [...(result.tasks ?? []), { ...scores, accuracyInterval }]
  }
  return result
}

/** Within so many standard errors lie 95 % of a normal distribution. */
const reach = 1.96

/**
 * The shares that could have given the one that was seen, which stay within 0 … 1.
 * Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
 */
function shareInterval(share: number, count: number): Interval {
  const z = reach ** 2 / count
  const middle = (share + z / 2) / (1 + z)
  const half = Math.sqrt(z * share * (1 - share) + z ** 2 / 4) / (1 + z)
  return [middle - half, middle + half]
}

function perplexityLines(result: Evaluation): string[] {
  const { perplexity, perplexityInterval, nll, tokens } = result
  if (perplexity === undefined || !perplexityInterval) return []
  const [low, high] = perplexityInterval.map((bound) => bound.toFixed(4))
  const figures = `${nll?.toFixed(5)} nats per token, ${formatCount(Number(tokens))} tokens scored`
  const lines = [
    `perplexity     ${perplexity.toFixed(4)}  (95 %: ${low} to ${high}; ${figures}, ${result.computeDtype})`,
  ]
  const { klDivergence, klDivergenceError, top1Agreement } = result
  if (klDivergence !== undefined && top1Agreement !== undefined) {
    const half = reach * Number(klDivergenceError)
    const bounds = [klDivergence - half, klDivergence + half].map((bound) => bound.toFixed(5))
    const shares = shareInterval(top1Agreement, Number(tokens)).map(percent)
    lines.push(
      `KL divergence  ${klDivergence.toFixed(5)}  (95 %: ${bounds.join(' to ')}; nats per token from the baseline)`,
      `agreement      ${percent(top1Agreement)}  (95 %: ${shares.join(' to ')}; likeliest tokens that are the baseline's)`,
    )
  }
  return lines
}

function taskLine(result: NonNullable<Evaluation['tasks']>[number]): string {
  const { task, accuracy, accuracyInterval, accuracyPerCharacter, items, perplexity, computeDtype } = result
  const details = [
    `95 %: ${accuracyInterval.map(percent).join(' to ')}; ${formatCount(items)} questions`,
    accuracyPerCharacter !== undefined && `${percent(accuracyPerCharacter)} by likelihood per character`,
    perplexity !== undefined && `perplexity ${perplexity.toFixed(4)}`,
    computeDtype,
  ]
  return `${task.padEnd(14)} ${percent(accuracy)}  (${details.filter(Boolean).join(', ')})`
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`
}
