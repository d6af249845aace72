import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  type CausalLM,
  type Device,
  loadCausalLM,
  type PerplexityOptions,
  perplexity,
} from '../../src/index.ts'
import { findPython } from '../../test/interop/python.ts'
import { measuredLines, readLines } from './lines.ts'

export const root = fileURLToPath(new URL('../../', import.meta.url))
const data = process.env.LOWBIT_DATA ?? join(root, '../shared/data')

/** Where models, Python and what was measured lie. */
export const cache = process.env.LOWBIT_CACHE ?? join(root, '.cache')

/** The texts that are measured on. */
export const texts = {
  wikitext: join(data, 'text/wikitext2-test.tokens.txt'),
  lambada: join(data, 'text/lambada_test.jsonl'),
}

/** Tokens of a window, as of transformers' peer. */
export const context = 2048

/** How the figures are measured. */
export interface Run {
  device: Device
  /** Whether what a run before has measured counts. */
  resume: boolean
  /** Windows of WikiText-2 at most, those of caches by lowbit and by transformers, passages of Lambada. */
  windows: number
  cacheWindows: number
  peerWindows: number
  passages: number
}

/** A row of a table. */
export type Row = Record<string, string>

/** The GGUF file of SmolLM2, fetched where it is not there. */
export function smollm2(): string {
  return execFileSync(process.execPath, [join(root, 'scripts/fetch-smollm2.mjs')], {
    encoding: 'utf8',
  }).trim()
}

/** SmolLM2 in float32. */
export function loadFloats(device: Device): Promise<CausalLM> {
  return loadCausalLM(smollm2(), { device, dequantize: true, dtype: 'float32' })
}

/** The tokens of WikiText-2's test split, which must be those of transformers' tokenizer. */
export async function wikitextTokens(model: CausalLM): Promise<number[]> {
  const ids = model.tokenizer?.encode(readFileSync(texts.wikitext, 'utf8'), { addSpecialTokens: false }) ?? []
  const [theirs] = await theirLines<number[]>('tokens', 'tokens', texts.wikitext, 1)
  if (ids.length !== theirs.length || ids.some((id, i) => id !== theirs[i]))
    throw new Error('bench:evaluation: the tokens of WikiText-2 must be those of transformers; they differ')
  return ids
}

/** A window: its tokens, and the negative log-likelihood of all but the first. */
export interface Window {
  tokens: number
  nll: number
}

/** lowbit's of the first windows of 2048 tokens, an incomplete last one too. */
export async function ourWindows(
  run: Run,
  name: string,
  model: CausalLM,
  ids: readonly number[],
  count: number,
  options: PerplexityOptions = {},
): Promise<Window[]> {
  const windows = Math.min(count, Math.ceil(ids.length / context))
  return measuredLines(join(cache, `evaluation/lowbit-${name}.jsonl`), windows, run.resume, async (i) => {
    const window = ids.slice(i * context, (i + 1) * context)
    const { nll, tokens } = await perplexity(model, window, { ...options, context: window.length })
    return { tokens: window.length, nll: nll * tokens }
  })
}

/** What transformers computes (peer.py), which is measured once and kept. */
export async function theirLines<T>(
  task: string,
  name: string,
  file: string,
  count: number,
  ...options: string[]
): Promise<T[]> {
  const out = join(cache, `evaluation/transformers-${name}.jsonl`)
  if (readLines(out).length < count) {
    const script = join(root, 'bench/evaluation/peer.py')
    const env = { ...process.env, TRANSFORMERS_OFFLINE: '1', HF_HUB_OFFLINE: '1' }
    const python = await findPython('gguf')
    execFileSync(python, [script, task, out, smollm2(), file, String(count), ...options], {
      env,
      stdio: ['ignore', 2, 2],
    })
  }
  return readLines<T>(out).slice(0, count)
}

/** exp of the mean over all windows. */
export function perplexityOf(windows: readonly Window[]): { perplexity: number; tokens: number } {
  const tokens = windows.reduce((sum, window) => sum + window.tokens - 1, 0)
  return { perplexity: Math.exp(windows.reduce((sum, { nll }) => sum + nll, 0) / tokens), tokens }
}
