import { Agent, type IncomingMessage, request } from 'node:http'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { generate } from '../../src/models/generate.ts'

/*
 * Many clients at once, of which some leave half-way, for the test of the server and for `npm run bench:serve`.
 */

/** A prompt, and the beginning of what the model writes behind it that rounding cannot change. */
export interface Expected {
  prompt: string
  text: string
}

/** A choice between tokens whose log-probabilities lie closer is one that rounding may decide. */
const nearTie = 1e-2

/** What the model writes behind each prompt alone, up to the first near tie. */
export async function expectations(model: CausalLM, prompts: readonly string[]): Promise<Expected[]> {
  const found: Expected[] = []
  for (const prompt of prompts) {
    const { tokenIds, logprobs = [] } = await generate(model, prompt, {
      maxNewTokens: 64,
      topLogprobs: 2,
      kv: 'float32',
    })
    const tie = logprobs.findIndex(({ topLogprobs: [a, b] = [] }) => a.logprob - b.logprob < nearTie)
    const sure = tie < 0 ? tokenIds : tokenIds.slice(0, tie)
    const stream = model.tokenizer?.decodeStream()
    found.push({ prompt, text: sure.map((id) => stream?.add(id)).join('') })
  }
  return found
}

export interface Load {
  url: string
  model: string
  clients: number
  seconds: number
  expected: readonly Expected[]
}

/** What the clients saw. */
export interface Seen {
  answers: number
  /** Requests whose client left before the end. */
  left: number
  tokens: number
  /** What was wrong, each with how often. */
  errors: Record<string, number>
  slowestMs: number
}

/** How long a request may take before it counts as stuck. */
const stuckMs = 60_000

/** Lets clients ask again and again until the time is over; every third request is left half-way. */
export async function load({ url, model, clients, seconds, expected }: Load): Promise<Seen> {
  const agent = new Agent({ keepAlive: true, maxSockets: clients })
  const seen: Seen = { answers: 0, left: 0, tokens: 0, errors: {}, slowestMs: 0 }
  const wrong = (what: string) => (seen.errors[what] = (seen.errors[what] ?? 0) + 1)
  const end = performance.now() + 1000 * seconds
  let count = 0
  const client = async () => {
    while (performance.now() < end) {
      const number = count++
      const { prompt, text } = expected[number % expected.length]
      const max_tokens = 8 + (number % 40)
      const leaveAfter = number % 3 === 0 ? max_tokens >> 1 : Infinity
      const started = performance.now()
      try {
        const body = { model, prompt, max_tokens, temperature: 0, stream: true }
        const got = await ask(`${url}/completions`, agent, body, leaveAfter)
        seen.tokens += got.pieces
        const same = Math.min(got.text.length, text.length)
        if (got.text.slice(0, same) !== text.slice(0, same)) wrong('a text is not that of a run alone')
        if (got.done) seen.answers++
        else if (leaveAfter < Infinity) seen.left++
        else wrong('an answer broke off')
      } catch (error) {
        wrong(error instanceof Error ? error.message : String(error))
      }
      seen.slowestMs = Math.max(seen.slowestMs, performance.now() - started)
    }
  }
  await Promise.all(Array.from({ length: clients }, client))
  agent.destroy()
  return seen
}

interface Got {
  text: string
  pieces: number
  done: boolean
}

/** One streamed completion; leaves after so many pieces. */
export function ask(
  url: string,
  agent: Agent,
  body: object,
  leaveAfter: number,
  onPiece = () => {},
): Promise<Got> {
  const got: Got = { text: '', pieces: 0, done: false }
  return new Promise((resolve, reject) => {
    const asked = request(url, {
      method: 'POST',
      agent,
      headers: { 'content-type': 'application/json' },
    })
    asked.setTimeout(stuckMs, () => asked.destroy(new Error('a request is stuck')))
    asked.on('error', reject)
    asked.on('response', (response: IncomingMessage) => {
      let rest = ''
      response.setEncoding('utf8')
      response.on('error', reject)
      response.on('data', (part: string) => {
        const lines = (rest + part).split('\n\n')
        rest = lines.pop() ?? ''
        for (const line of lines) if (take(line, got)) got.done = true
        onPiece()
        if (got.pieces < leaveAfter) return
        resolve(got)
        asked.destroy()
      })
      response.on('end', () =>
        response.statusCode === 200 ? resolve(got) : reject(new Error(`status ${response.statusCode}`)),
      )
    })
    asked.end(JSON.stringify(body))
  })
}

/** Adds an event to what was got, and says whether it is the last. */
function take(line: string, got: Got): boolean {
  if (line === 'data: [DONE]') return true
  const { choices, error } = JSON.parse(line.slice('data: '.length))
  if (error) throw new Error(error.message)
  got.text += choices[0].text
  got.pieces++
  return false
}
