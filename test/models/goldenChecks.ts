import assert from 'node:assert/strict'
import { perplexity } from '../../src/evaluate/perplexity.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { generateTokens } from '../../src/models/generate.ts'
import { QLinear } from '../../src/nn/qlinear.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import type { PlainCheckpoint } from './float64Llama.ts'
import { type Expected, inputs, manifest } from './golden.ts'

/**
 * Bit for bit, every quantized weight of the model against the parts in Python's file; returns how many there
 * are.
 */
export async function checkParts(model: CausalLM, { quantized: parts }: PlainCheckpoint): Promise<number> {
  const paths = [...model.namedModules()]
    .filter(([, module]) => module instanceof QLinear)
    .map(([path]) => `${path}.weight`)
  assert.deepEqual(paths.sort(), [...parts.keys()].sort())
  for (const [path, { codes, groupSize, scale, shift }] of parts) {
    const weight = model.getParameter(path)
    assert.ok(weight instanceof QTensor, path)
    assert.equal(weight.groupSize, groupSize, path)
    for (const [part, theirs] of [
      ['codes', codes],
      ['scale', scale],
      ['shift', shift],
    ] as const) {
      using tensor = weight[part]()
      const ours = tensor && (await tensor.readBytes())
      assert.ok(Buffer.from(ours ?? '').equals(theirs ?? Buffer.alloc(0)), `${path}: ${part} differ`)
    }
  }
  return parts.size
}

/** The dequantized weight at `path` as numbers. */
export async function dequantized(model: CausalLM, path: string): Promise<Float32Array> {
  const weight = model.getParameter(path)
  const float = weight.dequantize()
  const numbers = (await float.toNumbers()) as Float32Array
  if (!(weight instanceof Tensor)) float.dispose()
  return numbers
}

/**
 * Every dequantized weight has the sums that Python found, and the rows that it kept are the same to the last
 * bit.
 */
export async function checkWeights(
  model: CausalLM,
  expected: Expected,
  tensors: ReadonlyMap<string, Float32Array>,
): Promise<void> {
  for (const [path, stats] of Object.entries(expected.weight_stats)) {
    const values = await dequantized(model, path)
    const sums = [0, 0, 0]
    for (const value of values)
      for (const [i, term] of [value, Math.abs(value), value * value].entries()) sums[i] += term
    sums[2] = Math.sqrt(sums[2])
    // Both sums are float64's, in different orders: far below the last bit of a single weight.
    for (const [i, sum] of sums.entries())
      assert.ok(Math.abs(sum - stats[i]) <= 1e-12 * stats[1], `${path}: sum ${i} is ${sum}, not ${stats[i]}`)
  }
  for (const [name, rows] of tensors) {
    if (!name.startsWith('dequant.')) continue
    const values = await dequantized(model, name.slice('dequant.'.length))
    assert.deepEqual(
      Buffer.from(values.buffer, values.byteOffset, rows.byteLength),
      Buffer.from(rows.buffer),
      name,
    )
  }
}

/** How far float32 logits may be from the float64 ones, in units of how far PyTorch's are. */
export const logitFactor = 4

export interface LogitErrors {
  /** Largest error of any logit: ours, PyTorch's. */
  ours: number
  python: number
  /** Largest ratio of the two at any position; at most `logitFactor`. */
  worst: number
}

/**
 * At every position our largest error against the float64 forward pass is at most `logitFactor` times
 * PyTorch's: two float32 programs that differ in nothing but the order of their sums make errors of one size,
 * and a wrong formula or weight makes one that is not.
 */
export function checkLogits(ours: Float32Array, python: Float32Array, truth: Float64Array[]): LogitErrors {
  const V = truth[0].length
  assert.equal(ours.length, python.length)
  assert.equal(ours.length, truth.length * V)
  const errors: LogitErrors = { ours: 0, python: 0, worst: 0 }
  for (const [position, logits] of truth.entries()) {
    const error = (values: Float32Array) =>
      logits.reduce((max, logit, i) => Math.max(max, Math.abs(values[position * V + i] - logit)), 0)
    const [own, theirs] = [error(ours), error(python)]
    assert.ok(own <= logitFactor * theirs, `logits at ${position}: error ${own}, PyTorch's is ${theirs}`)
    errors.ours = Math.max(errors.ours, own)
    errors.python = Math.max(errors.python, theirs)
    errors.worst = Math.max(errors.worst, own / theirs)
  }
  // PyTorch itself is near the truth, or the truth is not one.
  assert.ok(
    errors.python < 1e-4 * Math.max(...truth.map((logits) => Math.max(...logits.map(Math.abs)))),
    `PyTorch's own error is ${errors.python}`,
  )
  return errors
}

/** Logits [T · V] of a prompt. */
export async function logitsOf(model: CausalLM, ids: readonly number[]): Promise<Float32Array> {
  const logits = model.forward(ids)
  const values = (await logits.read()) as Float32Array
  logits.dispose()
  return values
}

/** The perplexity over the text and of each of its windows is Python's. */
export async function checkPerplexity(model: CausalLM, expected: Expected): Promise<number> {
  const { context, n_windows, n_scored_tokens } = manifest
  const whole = await perplexity(model, inputs.ppl_ids, { context })
  assert.equal(whole.tokens, n_scored_tokens)
  const near = (ours: number, theirs: number, what: string) =>
    assert.ok(Math.abs(ours / theirs - 1) < 1e-5, `${what} is ${ours}, not ${theirs}`)
  near(whole.perplexity, expected.perplexity, 'perplexity')
  near(whole.nll, expected.nll, 'nll')
  for (let window = 0; window < n_windows; window++) {
    const { nll } = await perplexity(model, inputs.ppl_ids.slice(window * context, (window + 1) * context), {
      context,
    })
    near(nll, expected.window_nll[window], `nll of window ${window}`)
  }
  return whole.perplexity
}

/** Below this margin the likeliest token is a matter of rounding. */
const nearTie = 1e-3

/**
 * The greedy continuation is Python's, token for token, up to its first near tie; returns how many were
 * compared.
 */
export async function checkGreedy(
  model: CausalLM,
  { greedy_ids, greedy_margins }: Expected,
): Promise<number> {
  const tie = greedy_margins.findIndex((margin) => margin < nearTie)
  const count = tie < 0 ? greedy_ids.length : tie
  const ids: number[] = []
  for await (const id of generateTokens(model, inputs.prompt_ids, {
    maxNewTokens: count,
    stopAtEos: false,
    computeDtype: 'float32',
  }))
    ids.push(id)
  assert.deepEqual(ids, greedy_ids.slice(0, count))
  return count
}
