import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Client } from './client.ts'
import type { LowbitOptions } from './lowbit.ts'
import { decodePrompt, decodeTokens } from './measure.ts'
import { type Subject, startOf } from './starts.ts'
import type { Setting } from './worker.ts'

/** What a process that loads and generates takes, and how long it makes others wait. */
export interface Footprint {
  peakBytes: number
  loadPauseMs: number
  generatePauseMs: number
  /** Undefined for the peer, and where the run ended before the abort. */
  abortMs?: number
}

/**
 * In fresh processes: memory of about 128 + 64 tokens, text to text, the longest pauses with a long prompt,
 * and how soon an abort acts.
 */
export async function measureFootprint(
  open: Subject,
  promptIds: number[],
  /** Some 128 tokens. */
  text: string,
  maxPositions: number,
  setting: Setting,
): Promise<Footprint> {
  const room = Math.min(decodePrompt, maxPositions - decodeTokens)
  const peer = typeof open === 'string'
  const peakBytes = peer
    ? await peakOfPeer(open, promptIds.slice(0, room), setting)
    : await peakOfGenerate(open, text)

  using watched = await startOf(open)
  const { pauseMs: loadPauseMs = 0 } = await watched.load(true)
  const long = promptIds.slice(0, Math.min(2000, maxPositions - 16))
  const { pauseMs: generatePauseMs = 0 } = await watched.run({
    prompt: long,
    newTokens: 16,
    setting,
    watch: true,
  })
  // The peer cannot be stopped within a prompt.
  if (peer) return { peakBytes, loadPauseMs, generatePauseMs }
  const { abortMs } = await watched.run({ prompt: long, newTokens: 16, setting, abortAfterMs: 100 })
  return { peakBytes, loadPauseMs, generatePauseMs, abortMs }
}

async function peakOfPeer(model: string, prompt: number[], setting: Setting): Promise<number> {
  using fresh = await Client.peer(model)
  await fresh.load()
  await fresh.run({ prompt, newTokens: decodeTokens, setting })
  return fresh.memory()
}

/** The high-water mark of `lowbit generate`, as a user runs it. */
async function peakOfGenerate(
  { model, device, threads, computeDtype }: LowbitOptions,
  text: string,
): Promise<number> {
  const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
  const options = ['--device', device, '--threads', String(threads), '--compute-dtype', computeDtype]
  const child = spawn(
    process.execPath,
    [main, 'generate', model, text, '--max-new-tokens', String(decodeTokens), ...options],
    {
      stdio: 'ignore',
    },
  )
  let peakBytes = 0
  const timer = setInterval(() => {
    const status = readFileSync(`/proc/${child.pid}/status`, { encoding: 'utf8', flag: 'r' })
    peakBytes = Math.max(peakBytes, Number(/VmHWM:\s*(\d+) kB/.exec(status)?.[1] ?? 0) * 1024)
  }, 5)
  const [code] = await once(child, 'exit')
  clearInterval(timer)
  if (code !== 0) throw new Error(`lowbit generate: ended with ${code}`)
  return peakBytes
}
