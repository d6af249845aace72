import { isObject } from '../../core/kinds.ts'
import type { CausalLM } from '../../models/causalLM.ts'
import type { ChatMessage } from '../../models/chatTemplate.ts'
import type { SequenceOptions } from '../../models/sequence.ts'
import { ApiError } from './apiError.ts'
import { Fields, invalidType } from './fields.ts'

/** A request as it is run. */
export interface CompletionRequest {
  /** Token ids of each prompt. */
  prompts: (readonly number[])[]
  /** Texts that each prompt gets. */
  n: number
  options: SequenceOptions
  stream: boolean
  includeUsage: boolean
}

/** What requests are held against. */
export interface Served {
  model: CausalLM
  /** The name that requests call it by. */
  id: string
  /** Tokens of a prompt and its text together. */
  capacity: number
}

/** Texts that one prompt may get. */
const mostTexts = 16
/** No token stands for so many characters: a text that is longer needs not be cut into tokens to be refused. */
const charactersOfToken = 64

/** Reads the body of `/v1/chat/completions`. @throws ApiError if it is not one, or cannot be served */
export async function chatRequest(json: unknown, served: Served): Promise<CompletionRequest> {
  const fields = new Fields(json)
  checkModel(fields, served)
  const messages = readMessages(fields.required('messages'))
  const maxTokens = fields.integer('max_tokens', { min: 1, max: 2 ** 31 })
  const limit = fields.integer('max_completion_tokens', { min: 1, max: 2 ** 31 }) ?? maxTokens
  const logprobs = fields.boolean('logprobs')
  const topLogprobs = fields.integer('top_logprobs', { min: 0, max: 20 })
  if (topLogprobs !== undefined && !logprobs)
    throw new ApiError(400, "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.", {
      param: 'top_logprobs',
    })
  fields.unsupported('tools', [])
  fields.unsupported('tool_choice', 'none', 'auto')
  fields.unsupported('functions', [])
  fields.unsupported('response_format', { type: 'text' })
  fields.unsupported('modalities', ['text'])
  fields.ignore('parallel_tool_calls', 'store', 'metadata', 'service_tier', 'reasoning_effort', 'verbosity')
  fields.ignore('safety_identifier', 'prompt_cache_key')
  const common = readCommon(fields)
  fields.end()
  const prompt = await chatPrompt(messages, served)
  checkIds(prompt, 'messages', served)
  const options = { ...common.options, logprobs, topLogprobs, maxNewTokens: limit ?? served.capacity }
  return { ...common, prompts: [prompt], options }
}

/** Reads the body of `/v1/completions`. @throws ApiError if it is not one, or cannot be served */
export function textRequest(json: unknown, served: Served): CompletionRequest {
  const fields = new Fields(json)
  checkModel(fields, served)
  const given = promptList(fields.required('prompt'))
  const maxNewTokens = fields.integer('max_tokens', { min: 0, max: 2 ** 31 }) ?? 16
  const topLogprobs = fields.integer('logprobs', { min: 0, max: 5 })
  fields.unsupported('echo', false)
  fields.unsupported('suffix', '')
  const common = readCommon(fields)
  fields.unsupported('best_of', 1, common.n)
  fields.end()
  const prompts = given.map((prompt) => {
    const ids = typeof prompt === 'string' ? encode(prompt, served) : prompt
    checkIds(ids, 'prompt', served)
    return ids
  })
  const options = { ...common.options, logprobs: topLogprobs !== undefined, topLogprobs, maxNewTokens }
  return { ...common, prompts, options }
}

/** The fields that both kinds of request have; `top_k`, `min_p` and `repetition_penalty` are others' additions. */
function readCommon(fields: Fields): Omit<CompletionRequest, 'prompts'> {
  const stream = fields.boolean('stream')
  const streamOptions = fields.object('stream_options')
  if (streamOptions && !stream)
    throw new ApiError(400, "The 'stream_options' parameter is only allowed when 'stream' is enabled.", {
      param: 'stream_options',
    })
  const includeUsage = streamOptions?.boolean('include_usage') ?? false
  fields.unsupported('logit_bias', {})
  fields.ignore('user')
  const topP = fields.decimal('top_p', { min: 0, max: 1 })
  const topK = fields.integer('top_k', { min: 0, max: 2 ** 31 })
  const options: SequenceOptions = {
    temperature: fields.decimal('temperature', { min: 0, max: 2 }) ?? 1,
    // The likeliest token alone reaches the probability 0.
    ...(topP === 0 ? { topK: 1 } : { topP, topK }),
    minP: fields.decimal('min_p', { min: 0, max: 1 }),
    presencePenalty: fields.decimal('presence_penalty', { min: -2, max: 2 }),
    frequencyPenalty: fields.decimal('frequency_penalty', { min: -2, max: 2 }),
    repetitionPenalty: fields.decimal('repetition_penalty', { min: 0.01, max: 100 }),
    seed:
      fields.integer('seed', { min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER }) ??
      Math.floor(Math.random() * 2 ** 32),
    stopStrings: readStop(fields.get('stop')),
  }
  return { n: fields.integer('n', { min: 1, max: mostTexts }) ?? 1, options, stream, includeUsage }
}

function readStop(stop: unknown): string[] {
  const list = typeof stop === 'string' ? [stop] : (stop ?? [])
  if (!Array.isArray(list) || !list.every((one) => typeof one === 'string'))
    throw invalidType('stop', 'a string or an array of strings', stop)
  if (list.length > 4)
    throw new ApiError(
      400,
      `Invalid 'stop': array too long. Expected an array with maximum length 4, but got ${list.length} instead.`,
      {
        code: 'array_above_max_length',
        param: 'stop',
      },
    )
  // An empty text stops nothing.
  return list.filter((one) => one !== '')
}

/** @throws ApiError unless the request asks for the model that is served */
function checkModel(fields: Fields, { id }: Served): void {
  const asked = fields.required('model')
  if (typeof asked !== 'string') throw invalidType('model', 'a string', asked)
  if (asked !== id)
    throw new ApiError(404, `The model \`${asked}\` does not exist; this server has \`${id}\`.`, {
      code: 'model_not_found',
      param: 'model',
    })
}

/** @throws ApiError unless a prompt has tokens, which fit and are the model's */
function checkIds(ids: readonly number[], param: string, { capacity, model }: Served): void {
  const tokens = ids.length
  if (tokens === 0)
    throw new ApiError(400, `Invalid '${param}': must have at least one token; received none.`, { param })
  if (tokens > capacity) throw tooLong(`${tokens} tokens`, param, capacity)
  const { vocabularySize } = model.config
  if (ids.some((id) => id >= vocabularySize))
    throw new ApiError(400, `Invalid '${param}': token ids must lie in 0..${vocabularySize - 1}.`, { param })
}

function tooLong(received: string, param: string, capacity: number): ApiError {
  return new ApiError(
    400,
    `This model's maximum context length is ${capacity} tokens. However, your ${param} resulted in ${received}. Please reduce the length of the ${param}.`,
    { code: 'context_length_exceeded', param },
  )
}

/** The token ids of a prompt; special tokens that it spells are those tokens, as in Python. */
function encode(text: string, served: Served): readonly number[] {
  const { tokenizer } = served.model
  if (!tokenizer) throw new ApiError(400, 'The model has no tokenizer; pass token ids.', { param: 'prompt' })
  checkText(text.length, 'prompt', served)
  return tokenizer.encode(text)
}

function checkText(characters: number, param: string, { capacity }: Served): void {
  if (characters > charactersOfToken * capacity) throw tooLong(`${characters} characters`, param, capacity)
}

/** A text, several, token ids, or several lists of them. */
function promptList(prompt: unknown): (string | number[])[] {
  if (typeof prompt === 'string') return [prompt]
  const isIds = (value: unknown): value is number[] =>
    Array.isArray(value) && value.every((id) => Number.isInteger(id) && id >= 0)
  if (isIds(prompt)) return [prompt]
  if (Array.isArray(prompt) && prompt.length <= 2048) {
    const [texts, lists] = [prompt.filter((one) => typeof one === 'string'), prompt.filter(isIds)]
    if (texts.length === prompt.length) return texts
    if (lists.length === prompt.length) return lists
  }
  throw invalidType(
    'prompt',
    'a string, an array of strings, of token ids, or of arrays of token ids',
    prompt,
  )
}

/** Only the template writes special tokens: those that a message spells are text. */
async function chatPrompt(messages: ChatMessage[], served: Served): Promise<readonly number[]> {
  const { tokenizer } = served.model
  if (!tokenizer) throw new ApiError(400, 'The model has no tokenizer.', { param: 'messages' })
  checkText(
    messages.reduce((sum, { content }) => sum + String(content).length, 0),
    'messages',
    served,
  )
  return tokenizer.encodeChat(messages).catch((error: unknown) => {
    throw new ApiError(400, error instanceof Error ? error.message : String(error), { param: 'messages' })
  })
}

function readMessages(messages: unknown): ChatMessage[] {
  if (!Array.isArray(messages)) throw invalidType('messages', 'an array of objects', messages)
  if (messages.length === 0)
    throw new ApiError(400, "Invalid 'messages': empty array. Expected an array with minimum length 1.", {
      code: 'empty_array',
      param: 'messages',
    })
  return messages.map((message: unknown, i) => {
    const at = `messages[${i}]`
    if (!isObject(message)) throw invalidType(at, 'an object', message)
    const { role } = message
    if (typeof role !== 'string') throw invalidType(`${at}.role`, 'a string', role)
    // What OpenAI calls so is a system's message to all other models.
    return {
      role: role === 'developer' ? 'system' : role,
      content: contentOf(message.content, `${at}.content`),
    }
  })
}

/** The text of a message, which may come in parts. */
function contentOf(content: unknown, name: string): string {
  if (typeof content === 'string') return content
  if (content === null || content === undefined) return ''
  if (!Array.isArray(content)) throw invalidType(name, 'a string or an array of text parts', content)
  return content
    .map((part: unknown, i) => {
      if (isObject(part) && part.type === 'text' && typeof part.text === 'string') return part.text
      throw new ApiError(400, `Invalid value: '${name}[${i}]' must be { type: 'text', text }.`, {
        code: 'invalid_value',
        param: `${name}[${i}]`,
      })
    })
    .join('')
}
