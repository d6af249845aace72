import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { Pauses } from './pauses.ts'

/** How a run is asked to compute; only the peer takes it anew for each run. */
export interface Setting {
  threads: number
  flashAttention: boolean
}

/** What a worker measures: a library that loads a model and continues token ids. */
export interface Engine {
  /** Loads the model; resolves once it could compute. */
  load(): Promise<Loaded>
  encode?(text: string): number[]
  /** A few logits, which tell whether two settings compute differently. */
  probe?(): Promise<number[]>
  /** Yields `newTokens` ids, the likeliest each time, end of text or not. */
  generate?(
    prompt: number[],
    newTokens: number,
    setting: Setting,
    signal?: AbortSignal,
  ): AsyncIterable<number>
  /** In place of `generate`: measures by a clock of its own. */
  run?(options: RunOptions): Promise<RunReport>
}

export interface Loaded {
  /** For example `native avx512`. */
  name: string
  threads: number
  version: string
}

/** What the parent asks for, one JSON document a line; each is answered by one. */
export type Request =
  | { call: 'load'; watch?: boolean }
  | { call: 'encode'; text: string }
  | { call: 'probe' }
  | ({ call: 'run' } & RunOptions)
  | { call: 'memory' }

export interface RunOptions {
  prompt: number[]
  newTokens: number
  setting: Setting
  /** Whether to watch the event loop, which costs speed. */
  watch?: boolean
  /** Abort after so many milliseconds. */
  abortAfterMs?: number
}

export interface LoadReport extends Loaded {
  loadMs: number
  pauseMs?: number
}

export interface RunReport {
  tokenIds: number[]
  /** Until the first token. */
  firstMs: number
  /** Of each token after the first. */
  stepMs: number[]
  pauseMs?: number
  /** From the abort to the end of the run; absent where the run ended before. */
  abortMs?: number
}

/** Answers the parent's requests with `engine` until its input ends. */
export async function serve(engine: Engine): Promise<void> {
  const answer = async (line: string): Promise<unknown> => {
    const request = JSON.parse(line) as Request
    if (request.call === 'load') return load(engine, request.watch ?? false)
    if (request.call === 'encode') return engine.encode?.(request.text)
    if (request.call === 'probe') return engine.probe?.()
    if (request.call === 'run') return engine.run ? engine.run(request) : run(engine, request)
    return peakMemoryBytes()
  }
  for await (const line of createInterface({ input: process.stdin })) {
    const reply = await answer(line).then(
      (result) => ({ result }),
      (error: Error) => ({ error: error.message }),
    )
    process.stdout.write(JSON.stringify(reply) + '\n')
  }
  process.exit(0)
}

async function load(engine: Engine, watch: boolean): Promise<LoadReport> {
  const pauses = watch ? new Pauses() : undefined
  const started = performance.now()
  const loaded = await engine.load()
  const loadMs = performance.now() - started
  return { ...loaded, loadMs, pauseMs: await pauses?.end() }
}

async function run(
  engine: Engine,
  { prompt, newTokens, setting, watch, abortAfterMs }: RunOptions,
): Promise<RunReport> {
  if (!engine.generate) throw new Error('the engine generates nothing')
  const pauses = watch ? new Pauses() : undefined
  const controller = new AbortController()
  let aborted = 0
  const abort = () => {
    aborted = performance.now()
    controller.abort()
  }
  const timer = abortAfterMs === undefined ? undefined : setTimeout(abort, abortAfterMs)
  const tokenIds: number[] = []
  const marks = [performance.now()]
  try {
    for await (const id of engine.generate(prompt, newTokens, setting, controller.signal)) {
      marks.push(performance.now())
      tokenIds.push(id)
    }
  } catch (error) {
    if (!controller.signal.aborted) throw error
  } finally {
    clearTimeout(timer)
  }
  const abortMs = aborted > 0 ? performance.now() - aborted : undefined
  const [firstMs = 0, ...stepMs] = marks.slice(1).map((mark, i) => mark - marks[i])
  return { tokenIds, firstMs, stepMs, pauseMs: await pauses?.end(), abortMs }
}

/** The most memory that this process ever held: VmHWM on Linux. */
function peakMemoryBytes(): number {
  const ofKernel =
    process.platform === 'linux' && /VmHWM:\s*(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))
  return 1024 * (ofKernel ? Number(ofKernel[1]) : process.resourceUsage().maxRSS)
}
