import { Client } from './client.ts'
import type { LowbitOptions } from './lowbit.ts'
import { decodePrompt, decodeTokens } from './measure.ts'
import type { Setting } from './worker.ts'

/** What a process that loads and generates takes, and how long it makes others wait. */
export interface Footprint {
  peakBytes: number
  loadMs: number
  loadPauseMs: number
  generatePauseMs: number
  /** Undefined for the peer, and where the run ended before the abort. */
  abortMs?: number
}

/** In fresh processes: load and memory of 128 + 64 tokens, the longest pauses with a long prompt, and how soon an abort acts. */
export async function measureFootprint(
  open: LowbitOptions | string,
  promptIds: number[],
  maxPositions: number,
  setting: Setting,
): Promise<Footprint> {
  const start = () => (typeof open === 'string' ? Client.llama(open) : Client.lowbit(open))
  using fresh = start()
  const { loadMs } = await fresh.load()
  const prompt = promptIds.slice(0, Math.min(decodePrompt, maxPositions - decodeTokens))
  await fresh.run({ prompt, newTokens: decodeTokens, setting })
  const peakBytes = await fresh.memory()
  fresh.close()

  using watched = start()
  const { pauseMs: loadPauseMs = 0 } = await watched.load(true)
  const long = promptIds.slice(0, Math.min(2000, maxPositions - 16))
  const { pauseMs: generatePauseMs = 0 } = await watched.run({ prompt: long, newTokens: 16, setting, watch: true })
  // The peer cannot be stopped within a prompt.
  if (typeof open === 'string') return { peakBytes, loadMs, loadPauseMs, generatePauseMs }
  const { abortMs } = await watched.run({ prompt: long, newTokens: 16, setting, abortAfterMs: 100 })
  return { peakBytes, loadMs, loadPauseMs, generatePauseMs, abortMs }
}
