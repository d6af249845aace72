import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { DeviceName } from '../../src/devices/open.ts'
import { planCausalLM } from '../../src/models/load.ts'
import { Client } from './client.ts'
import { type ModelPeerName, modelPeers } from './modelPeers.ts'
import type { Setting } from './worker.ts'

/** What one model asks of a machine. */
export interface Work {
  /** Of its file, or of the files of its folder. */
  fileBytes: number
  /** Bytes of weights read for a token: all but an embedding of its own, of which one row is read. */
  decodeBytes: number
  /**
   * Multiplies and adds of its linear layers for a token of a prompt, without attention and what only the
   * last token of a prompt needs: the head, and of the last layer all but keys and values.
   */
  prefillOperations: number
  maxPositions: number
}

/** What a model asks of a machine; reads its files once, so that loads are measured from the page cache. */
export async function workOf(model: string): Promise<Work> {
  const files = statSync(model).isDirectory() ? readdirSync(model).map((name) => join(model, name)) : [model]
  const fileBytes = files.reduce((sum, file) => sum + readFileSync(file).byteLength, 0)
  const plan = await planCausalLM(model)
  try {
    const { maxPositions, layers } = plan.model.config
    const lastLayer = `.layers.${layers - 1}.`
    const forLastToken = (path: string) => path.includes(lastLayer) && !/\.[kv]_proj\./.test(path)
    // A tied embedding is planned once, or once more as the head.
    const hasHead = plan.parameters.some(({ path }) => path.startsWith('lm_head'))
    const read = plan.parameters.filter(({ path }) => !hasHead || !path.includes('embed_tokens'))
    const linear = plan.parameters.filter(
      ({ path, shape }) => shape.length === 2 && !/embed_tokens|lm_head/.test(path) && !forLastToken(path),
    )
    return {
      fileBytes,
      decodeBytes: read.reduce((sum, { byteLength }) => sum + byteLength, 0),
      prefillOperations: linear.reduce((sum, { shape: [rows, cols] }) => sum + 2 * rows * cols, 0),
      maxPositions,
    }
  } finally {
    await plan.close()
  }
}

/** Tokens per second of one round. */
export interface Round {
  prefill: number
  /** Over all steps. */
  decode: number
  /** Over the fastest tenth of the steps. */
  decodeFastest: number
}

export interface Speed {
  /** For example `native avx512, int8`. */
  name: string
  device: DeviceName
  /** Whether it is not lowbit's. */
  peer: boolean
  threads: number
  version: string
  rounds: Round[]
  /** What it wrote after the prompt, greedily. */
  tokenIds: number[]
}

export interface SpeedOptions {
  model: string
  devices: DeviceName[]
  /** Who takes part beside lowbit, if anybody. */
  peer: ModelPeerName | undefined
  threads: number
  runs: number
  text: string
  maxPositions: number
  log: (line: string) => void
}

const computeDtypes = ['float32', 'int8'] as const
const prefillTokens = 512
/** New tokens, and the prompt before them. */
export const decodeTokens = 64
export const decodePrompt = 128

interface Runner {
  client: Client
  speed: Speed
  prefill: Setting
  decode: Setting
}

/**
 * Prefill of 512 tokens and decode of 64 after 128: the peer at its best settings, then each of ours, and
 * again.
 */
export async function measureSpeed(
  options: SpeedOptions,
): Promise<{ speeds: Speed[]; settings: string; promptIds: number[] }> {
  const { threads, runs, text, maxPositions, log } = options
  const clients: Client[] = []
  try {
    const runners: Runner[] = []
    let promptIds: number[] = []
    for (const device of options.devices) {
      let before = ''
      for (const computeDtype of computeDtypes) {
        const client = Client.lowbit({ model: options.model, device, threads, computeDtype })
        clients.push(client)
        const { name, threads: used, version } = await client.load()
        const probe = String(await client.probe())
        if (probe === before) {
          log(`${name}: ${computeDtype} computes what float32 does; left out`)
          client.close()
          continue
        }
        before = probe
        promptIds = await client.encode(text)
        const speed: Speed = {
          name: `${name}, ${computeDtype}`,
          device,
          peer: false,
          threads: used,
          version,
          rounds: [],
          tokenIds: [],
        }
        const setting = { threads, flashAttention: true }
        runners.push({ client, speed, prefill: setting, decode: setting })
      }
    }
    const length = Math.min(prefillTokens, maxPositions)
    const lengths = {
      prefill: promptIds.slice(0, length),
      decode: promptIds.slice(0, Math.min(decodePrompt, maxPositions - decodeTokens)),
    }
    if (options.peer) {
      const client = await Client.peer(options.model, options.peer)
      clients.push(client)
      const { version } = await client.load()
      const speed: Speed = {
        name: options.peer,
        device: modelPeers[options.peer].device,
        peer: true,
        threads,
        version,
        rounds: [],
        tokenIds: [],
      }
      runners.unshift({ client, speed, ...(await bestSettings(options.peer, client, threads, lengths, log)) })
    }
    for (let round = -1; round < runs; round++) {
      for (const runner of runners) {
        const { rates, tokenIds } = await measureRound(runner, lengths)
        runner.speed.tokenIds = tokenIds
        // The first round warms up.
        if (round >= 0) runner.speed.rounds.push(rates)
        log(`${round < 0 ? 'warm-up' : `run ${round + 1}`}  ${runner.speed.name}: ${show(rates)}`)
      }
    }
    const peer = runners.find(({ speed }) => speed.peer)
    const settings = peer ? `prefill ${describe(peer.prefill)}; decode ${describe(peer.decode)}` : ''
    return { speeds: runners.map(({ speed }) => speed), settings, promptIds }
  } finally {
    for (const client of clients) client.close()
  }
}

interface Prompts {
  prefill: number[]
  decode: number[]
}

async function measureRound(
  { client, prefill, decode }: Pick<Runner, 'client' | 'prefill' | 'decode'>,
  prompts: Prompts,
): Promise<{ rates: Round; tokenIds: number[] }> {
  const { firstMs } = await client.run({ prompt: prompts.prefill, newTokens: 1, setting: prefill })
  // The first token belongs to the prompt: 64 steps follow it.
  const { stepMs, tokenIds } = await client.run({
    prompt: prompts.decode,
    newTokens: decodeTokens + 1,
    setting: decode,
  })
  const fastest = [...stepMs].sort((a, b) => a - b).slice(0, Math.ceil(stepMs.length / 10))
  const rates = {
    prefill: (1000 * prompts.prefill.length) / firstMs,
    decode: 1000 / mean(stepMs),
    decodeFastest: 1000 / mean(fastest),
  }
  return { rates, tokenIds }
}

/** The settings at which the peer is fastest, of one thread or `threads`, with flash attention or without. */
async function bestSettings(
  name: ModelPeerName,
  client: Client,
  threads: number,
  prompts: Prompts,
  log: (line: string) => void,
): Promise<{ prefill: Setting; decode: Setting }> {
  const known = modelPeers[name].fastest?.(threads)
  if (known) return known
  const settings = [...new Set([1, threads])].flatMap((count) =>
    [false, true].map((flashAttention) => ({ threads: count, flashAttention })),
  )
  const tried: { setting: Setting; rates: Round }[] = []
  for (const setting of settings) {
    const runner = { client, prefill: setting, decode: setting }
    await measureRound(runner, prompts)
    for (let run = 0; run < 2; run++)
      tried.push({ setting, rates: (await measureRound(runner, prompts)).rates })
    log(`${name}, ${describe(setting)}: ${show(tried[tried.length - 1].rates)}`)
  }
  const best = (what: keyof Round) => tried.reduce((a, b) => (b.rates[what] > a.rates[what] ? b : a)).setting
  return { prefill: best('prefill'), decode: best('decodeFastest') }
}

const describe = ({ threads, flashAttention }: Setting) =>
  `${threads === 1 ? '1 thread' : `${threads} threads`}, flash attention ${flashAttention ? 'on' : 'off'}`

const show = ({ prefill, decode, decodeFastest }: Round) =>
  `prefill ${prefill.toFixed(1)}, decode ${decode.toFixed(1)}, fastest tenth ${decodeFastest.toFixed(1)} tokens/s`

const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
