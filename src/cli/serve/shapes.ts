import { randomUUID } from 'node:crypto'
import type { FinishReason, GeneratedToken } from '../../models/sequence.ts'
import type { Tokenizer } from '../../models/tokenizer.ts'

/** What one text of an answer, or a piece of it, says. */
export interface Piece {
  index: number
  text: string
  tokens: readonly GeneratedToken[]
  finishReason: FinishReason | null
}

/** Prompt and new tokens of an answer. */
export interface Usage {
  promptTokens: number
  completionTokens: number
}

/** A choice of an answer, as JSON. */
export type Choice = Readonly<Record<string, unknown>>

/** How answers of one endpoint look. */
export interface Shape {
  /** What the ids of its answers begin with. */
  prefix: string
  /** What an answer calls itself, whole and in pieces. */
  object: string
  chunkObject: string
  choice(piece: Piece, logprobs: object | null): Choice
  /** Before the first piece of a text; undefined if nothing is. */
  opening(index: number): Choice | undefined
  chunkChoice(piece: Piece, logprobs: object | null): Choice
  /** The log-probabilities of tokens; `offset` is how long the text before them is. */
  logprobs(tokens: readonly GeneratedToken[], tokenizer: Tokenizer, offset: number): object
}

/** `/v1/chat/completions` */
export const chatShape: Shape = {
  prefix: 'chatcmpl',
  object: 'chat.completion',
  chunkObject: 'chat.completion.chunk',
  choice: ({ index, text, finishReason }, logprobs) => ({
    index,
    message: { role: 'assistant', content: text, refusal: null },
    logprobs,
    finish_reason: finishReason,
  }),
  opening: (index) => ({
    index,
    delta: { role: 'assistant', content: '', refusal: null },
    logprobs: null,
    finish_reason: null,
  }),
  chunkChoice: ({ index, text, finishReason }, logprobs) => ({
    index,
    delta: text === '' && logprobs === null ? {} : { content: text },
    logprobs,
    finish_reason: finishReason,
  }),
  logprobs(tokens, tokenizer) {
    const one = (tokenId: number, logprob: number) => {
      const token = tokenizer.decode([tokenId], { skipSpecialTokens: false })
      return { token, logprob: finite(logprob), bytes: [...new TextEncoder().encode(token)] }
    }
    const content = tokens.map(({ tokenId, logprob = 0, topLogprobs = [] }) => ({
      ...one(tokenId, logprob),
      top_logprobs: topLogprobs.map((top) => one(top.tokenId, top.logprob)),
    }))
    return { content, refusal: null }
  },
}

/** `/v1/completions` */
export const textShape: Shape = {
  prefix: 'cmpl',
  object: 'text_completion',
  chunkObject: 'text_completion',
  choice: ({ index, text, finishReason }, logprobs) => ({
    index,
    text,
    logprobs,
    finish_reason: finishReason,
  }),
  opening: () => undefined,
  chunkChoice: (piece, logprobs) => textShape.choice(piece, logprobs),
  logprobs(tokens, tokenizer, offset) {
    const text = (id: number) => tokenizer.decode([id], { skipSpecialTokens: false })
    let at = offset
    const offsets = tokens.map((token) => {
      const start = at
      at += token.text.length
      return start
    })
    return {
      tokens: tokens.map(({ tokenId }) => text(tokenId)),
      token_logprobs: tokens.map(({ logprob = 0 }) => finite(logprob)),
      top_logprobs: tokens.map(({ topLogprobs = [] }) =>
        Object.fromEntries(topLogprobs.map(({ tokenId, logprob }) => [text(tokenId), finite(logprob)])),
      ),
      text_offset: offsets,
    }
  },
}

/** JSON has no −∞; OpenAI says this of tokens that hardly come. */
function finite(logprob: number): number {
  return Math.max(logprob, -9999)
}

/** What every answer, and every piece of it, begins with. */
export interface Heading {
  id: string
  object: string
  created: number
  model: string
}

export function heading({ prefix, object, chunkObject }: Shape, model: string, stream: boolean): Heading {
  const created = Math.floor(Date.now() / 1000)
  return { id: `${prefix}-${randomUUID()}`, object: stream ? chunkObject : object, created, model }
}

export function usage({ promptTokens, completionTokens }: Usage): object {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  }
}
