import type { ServerResponse } from 'node:http'
import { type GeneratedToken, Sequence } from '../../models/sequence.ts'
import { asApiError } from './apiError.ts'
import { EventStream } from './eventStream.ts'
import type { CompletionRequest, Served } from './request.ts'
import { sendError, sendJson } from './respond.ts'
import type { Scheduler } from './scheduler.ts'
import { type Choice, type Heading, heading, type Piece, type Shape, usage } from './shapes.ts'

/** A request that runs. */
interface Run {
  request: CompletionRequest
  shape: Shape
  response: ServerResponse
  served: Served
  sequences: readonly Sequence[]
  heading: Heading
}

/** How a kind of answer is given, as its tokens come. */
interface Answer {
  take(index: number, token: GeneratedToken): void
  finish(): void
  fail(error: unknown): void
}

/**
 * Runs a request and answers it, whole or in pieces; its sequences are let go when the client is gone.
 * @throws ApiError if it is not taken
 */
export function answer(
  request: CompletionRequest,
  shape: Shape,
  response: ServerResponse,
  served: Served,
  scheduler: Scheduler,
): void {
  const sequences = sequencesOf(request, served)
  const run = {
    request,
    shape,
    response,
    served,
    sequences,
    heading: heading(shape, served.id, request.stream),
  }
  // Nothing is sent before the request is taken.
  let given: Answer | undefined
  let left = sequences.length
  const listener = (index: number) => ({
    onToken: (token: GeneratedToken) => given?.take(index, token),
    onEnd(error?: unknown) {
      if (error !== undefined) {
        scheduler.remove(sequences)
        given?.fail(error)
      } else if (--left === 0) given?.finish()
    },
  })
  scheduler.add(
    sequences,
    sequences.map((_, index) => listener(index)),
  )
  given = request.stream ? streamed(run) : whole(run)
  response.on('close', () => scheduler.remove(sequences))
}

/** Each text of a request draws from a seed of its own. */
function sequencesOf({ prompts, n, options }: CompletionRequest, { model, capacity }: Served): Sequence[] {
  const { seed = 0, maxNewTokens = Infinity } = options
  return prompts.flatMap((prompt, p) =>
    Array.from({ length: n }, (_, i) => {
      const limit = Math.min(maxNewTokens, capacity - prompt.length + 1)
      return new Sequence(model, prompt, { ...options, seed: seed + p * n + i, maxNewTokens: limit })
    }),
  )
}

function whole(run: Run): Answer {
  const { response, shape, sequences } = run
  const tokens = sequences.map((): GeneratedToken[] => [])
  return {
    take(index, token) {
      if (run.request.options.logprobs) tokens[index].push(token)
    },
    finish() {
      const choices = sequences.map(({ text, finishReason = null }, index) => {
        const piece = { index, text, tokens: tokens[index], finishReason }
        return shape.choice(piece, logprobsOf(run, piece, 0))
      })
      sendJson(response, 200, { ...run.heading, choices, usage: usageOf(run) })
    },
    fail: (error) => sendError(response, asApiError(error)),
  }
}

/** An event of a stream: a piece of a text, or another object. */
type Event = { piece: Piece } | { other: object }

function streamed(run: Run): Answer {
  const { shape, response, sequences } = run
  const { includeUsage, options } = run.request
  const chunk = (choices: readonly Choice[]) => ({
    ...run.heading,
    choices,
    ...(includeUsage ? { usage: null } : {}),
  })
  /** How long the text is that was told of each sequence. */
  const told = sequences.map(() => 0)
  const events = new EventStream<Event>(response, {
    toJSON(event) {
      if ('other' in event) return event.other
      const { piece } = event
      const choice = shape.chunkChoice(piece, logprobsOf(run, piece, told[piece.index]))
      told[piece.index] += piece.text.length
      return chunk([choice])
    },
    merge(waiting, next) {
      if ('other' in waiting || 'other' in next || waiting.piece.index !== next.piece.index) return undefined
      const [a, b] = [waiting.piece, next.piece]
      return { piece: { ...b, text: a.text + b.text, tokens: [...a.tokens, ...b.tokens] } }
    },
  })
  for (const index of sequences.keys()) {
    const opening = shape.opening(index)
    if (opening) events.send({ other: chunk([opening]) })
  }
  return {
    take(index, token) {
      const { finishReason = null } = sequences[index]
      if (token.text === '' && !options.logprobs && !finishReason) return
      const tokens = options.logprobs ? [token] : []
      events.send({ piece: { index, text: token.text, tokens, finishReason } })
    },
    finish() {
      if (includeUsage) events.send({ other: { ...run.heading, choices: [], usage: usageOf(run) } })
      events.end()
    },
    fail(error) {
      events.send({ other: asApiError(error).toJSON() })
      events.end()
    },
  }
}

function logprobsOf({ request, shape, served }: Run, { tokens }: Piece, offset: number): object | null {
  const { tokenizer } = served.model
  return request.options.logprobs && tokenizer ? shape.logprobs(tokens, tokenizer, offset) : null
}

function usageOf({ request, sequences }: Run): object {
  const sum = (lengths: number[]) => lengths.reduce((all, length) => all + length, 0)
  return usage({
    promptTokens: sum(request.prompts.map(({ length }) => length)),
    completionTokens: sum(sequences.map(({ tokenIds }) => tokenIds.length)),
  })
}
