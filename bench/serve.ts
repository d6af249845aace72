import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { Agent } from 'node:http'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { openDevice } from '../src/devices/open.ts'
import { loadCausalLM } from '../src/models/load.ts'
import { ask, expectations, load } from '../test/cli/serveLoad.ts'

/*
 * `lowbit serve` under load: 200 clients on the embedded model for a minute, a third of them leaving half-way;
 * with `--model FILE.gguf`, how long a ninth client waits for its first token while eight are served.
 */

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    clients: { type: 'string', default: '200' },
    model: { type: 'string' },
  },
})
const stories = fileURLToPath(new URL('../models/stories260K', import.meta.url))

/** A server in a process of its own. */
async function serve(...args: string[]): Promise<{ child: ChildProcess; url: string; model: string }> {
  const main = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url))
  const options = ['--conditions=lowbit-source', main, 'serve', ...args, '--port', '0', '--json']
  const child = spawn(process.execPath, options, { stdio: ['ignore', 'pipe', 'inherit'] })
  let said = ''
  for await (const part of child.stdout.setEncoding('utf8')) {
    said += part
    if (said.endsWith('}\n')) break
  }
  return { child, ...JSON.parse(said) }
}

/** Resident memory of a process in MB. */
function residentMB({ pid }: ChildProcess): number {
  const [, kilobytes] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kilobytes) / 1000
}

async function underLoad(): Promise<void> {
  const device = openDevice('cpu', { threads: 1 })
  const alone = await loadCausalLM(stories, { device })
  const expected = await expectations(alone, [
    'Once upon a time',
    'The',
    'Lily and Tom went',
    'One day',
    'A dog',
  ])
  await device.close()
  const { child, url, model } = await serve(stories, '--queue', '256', '--kv', 'float32')
  const [seconds, clients] = [Number(values.seconds), Number(values.clients)]
  const memory: number[] = []
  const timer = setInterval(() => memory.push(residentMB(child)), (1000 * seconds) / 12)
  const seen = await load({ url, model, clients, seconds, expected })
  clearInterval(timer)
  child.kill('SIGINT')
  console.log({ clients, seconds, ...seen, tokensPerSecond: Math.round(seen.tokens / seconds) })
  console.log('resident MB:', memory.map((one) => one.toFixed(0)).join(' '))
}

/** How long a client waits for its first token, in ms. */
async function firstToken(url: string, body: object): Promise<number> {
  const started = performance.now()
  await ask(`${url}/completions`, new Agent(), { ...body, stream: true }, 1)
  return performance.now() - started
}

async function ninthClient(path: string): Promise<void> {
  const { child, url, model } = await serve(path)
  for (const words of [8, 200]) {
    const prompt = (n: number) => `${n} ${'the quick brown fox jumps over a lazy dog '.repeat(words / 8)}`
    const body = (n: number) => ({ model, prompt: prompt(n), max_tokens: 1 })
    for (let n = 0; n < 3; n++) await firstToken(url, body(n))
    const alone = await firstToken(url, body(10))
    const agent = new Agent()
    const eight: Promise<unknown>[] = []
    const begun = Array.from({ length: 8 }, (_, n) => {
      const asked = { ...body(20 + n), max_tokens: 400, stream: true }
      return new Promise<void>((resolve) => {
        eight.push(ask(`${url}/completions`, agent, asked, 390, resolve))
      })
    })
    await Promise.all(begun)
    const ninth: number[] = []
    for (let n = 0; n < 5; n++) ninth.push(await firstToken(url, body(30 + n)))
    const median = ninth.sort((a, b) => a - b)[2]
    console.log(
      `${words} words: first token after ${alone.toFixed(0)} ms alone, ${median.toFixed(0)} ms as the ninth: ${(median / alone).toFixed(2)} ×`,
    )
    await Promise.allSettled(eight)
  }
  child.kill('SIGINT')
}

if (values.model) await ninthClient(values.model)
else await underLoad()
process.exit()
