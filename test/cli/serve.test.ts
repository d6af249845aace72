import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateText, streamText } from 'ai'
import OpenAI, { APIError } from 'openai'
import { CompletionServer } from '../../src/cli/serve/server.ts'
import { openDevice } from '../../src/devices/open.ts'
import { generate } from '../../src/models/generate.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { copyOf, editJson, stories, temporaryFolder } from './lowbit.ts'

/*
 * The server as its clients see it: OpenAI's own client and the AI SDK's provider for servers like OpenAI's.
 */

const device = openDevice('cpu', { threads: 1 })
// The model was trained on stories, not on chats: the template tells what was said, one behind the other.
const chat_template = '{{ bos_token }}{% for message in messages %}{{ message.content }}{% endfor %}'
const folder = copyOf(stories, join(temporaryFolder(), 'chat'), (copy) =>
  editJson(copy, 'tokenizer_config.json', (config) => Object.assign(config, { chat_template })),
)
const model = await loadCausalLM(folder, { device })
const { tokenizer } = model
if (!tokenizer) throw new Error('stories260K has a tokenizer')
const id = 'stories260K'
/** Halves would round keys and values that differ in their last bits by more. */
const exact = { computeDtype: 'float32', kv: 'float32' } as const
const server = new CompletionServer({ model, id, size: 4, capacity: 256, queue: 8, ...exact })
const url = await server.listen('127.0.0.1', 0)
after(async () => {
  await server.close()
  model.dispose()
  await device.close()
})
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 })
const prompt = 'Once upon a time'
const greedy = { model: id, prompt, temperature: 0, max_tokens: 20 }

/** What the model writes behind the prompt when it is alone. */
const alone = await generate(model, prompt, { maxNewTokens: 20, ...exact, topLogprobs: 2 })

/** The error that a request is answered with. */
async function refusal(asked: Promise<unknown>): Promise<APIError> {
  const error = await asked.then(
    () => null,
    (error: unknown) => error,
  )
  assert.ok(error instanceof APIError, String(error))
  return error
}

test('openai: a completion is what generate gives', async () => {
  const { choices, usage, object } = await client.completions.create(greedy)
  assert.equal(object, 'text_completion')
  assert.deepEqual(choices, [{ index: 0, text: alone.text, logprobs: null, finish_reason: 'length' }])
  const prompt_tokens = tokenizer.encode(prompt).length
  assert.deepEqual(usage, { prompt_tokens, completion_tokens: 20, total_tokens: prompt_tokens + 20 })
})

test('openai: a stream adds up to it, with usage at its end', async () => {
  const stream = await client.completions.create({
    ...greedy,
    stream: true,
    stream_options: { include_usage: true },
  })
  let [text, reason, total] = ['', '', 0]
  for await (const { choices, usage } of stream) {
    for (const choice of choices) {
      text += choice.text
      reason = choice.finish_reason ?? reason
    }
    total = usage?.total_tokens ?? total
  }
  assert.deepEqual([text, reason], [alone.text, 'length'])
  assert.equal(total, tokenizer.encode(prompt).length + 20)
})

test('openai: stop strings, several prompts, several texts of each, token ids', async () => {
  const stop = alone.text.slice(12, 16)
  const { choices } = await client.completions.create({
    ...greedy,
    prompt: [prompt, 'The'],
    n: 2,
    stop: [stop, 'never said'],
  })
  assert.deepEqual(
    choices.map(({ index }) => index),
    [0, 1, 2, 3],
  )
  for (const { text, finish_reason } of choices.slice(0, 2))
    assert.deepEqual([text, finish_reason], [alone.text.slice(0, alone.text.indexOf(stop)), 'stop'])
  const ids = await client.completions.create({ ...greedy, prompt: tokenizer.encode(prompt) })
  assert.equal(ids.choices[0].text, alone.text)
})

test('openai: log-probabilities are those of generate', async () => {
  const { choices } = await client.completions.create({ ...greedy, logprobs: 2 })
  const { tokens = [], token_logprobs = [], top_logprobs = [], text_offset = [] } = choices[0].logprobs ?? {}
  assert.equal(tokens.length, 20)
  for (const [i, { tokenId, logprob, topLogprobs = [] }] of (alone.logprobs ?? []).entries()) {
    assert.equal(tokens[i], tokenizer.decode([tokenId], { skipSpecialTokens: false }))
    // Attention of a batch may add in another order.
    assert.ok(Math.abs((token_logprobs[i] ?? NaN) - logprob) < 1e-3)
    assert.equal(Object.keys(top_logprobs[i] ?? {}).length, topLogprobs.length)
    assert.ok(alone.text.slice(text_offset[i]).startsWith(choices[0].text.slice(text_offset[i])))
  }
})

test('openai: one seed draws one text', async () => {
  const drawn = (seed: number) =>
    client.completions.create({ ...greedy, temperature: 1.2, top_p: 0.95, seed, presence_penalty: 0.5 })
  const [one, same, other] = await Promise.all([drawn(7), drawn(7), drawn(8)])
  assert.equal(one.choices[0].text, same.choices[0].text)
  assert.notEqual(one.choices[0].text, other.choices[0].text)
})

test('openai: top_p 0 leaves the likeliest token alone', async () => {
  const { choices } = await client.completions.create({ ...greedy, temperature: 2, top_p: 0, seed: 3 })
  assert.equal(choices[0].text, alone.text)
})

test('openai: the models, and one by its name', async () => {
  const { data } = await client.models.list()
  assert.deepEqual(
    data.map((one) => [one.id, one.object]),
    [[id, 'model']],
  )
  assert.equal((await client.models.retrieve(id)).id, id)
  assert.equal((await refusal(client.models.retrieve('other'))).status, 404)
})

test('requests that cannot be served are told why', async () => {
  const cases: [object, number, RegExp, string | null][] = [
    [{ model: 'other' }, 404, /The model `other` does not exist/, 'model_not_found'],
    [{ prompt: undefined }, 400, /Missing required parameter: 'prompt'/, 'missing_required_parameter'],
    [{ prompt: 7 }, 400, /Invalid type for 'prompt'.*but got an integer/, 'invalid_type'],
    [{ prompt: [] }, 400, /at least one token/, null],
    [{ prompt: [5000] }, 400, /token ids must lie in 0..511/, null],
    [
      { prompt: Array(300).fill(5) },
      400,
      /maximum context length is 256.*300 tokens/,
      'context_length_exceeded',
    ],
    [{ prompt: 'x'.repeat(1e6) }, 400, /maximum context length is 256/, 'context_length_exceeded'],
    [
      { temperature: 'hot' },
      400,
      /Invalid type for 'temperature': expected a decimal, but got a string/,
      'invalid_type',
    ],
    [
      { temperature: 3 },
      400,
      /above maximum value. Expected a value <= 2, but got 3/,
      'decimal_above_max_value',
    ],
    [{ max_tokens: -1 }, 400, /integer below minimum value/, 'integer_below_min_value'],
    [{ stop: ['a', 'b', 'c', 'd', 'e'] }, 400, /array too long/, 'array_above_max_length'],
    [{ echo: true }, 400, /'echo' is not supported/, 'unsupported_parameter'],
    [{ max_token: 5 }, 400, /Unrecognized request argument supplied: max_token/, null],
    [{ stream_options: {} }, 400, /only allowed when 'stream'/, null],
  ]
  for (const [given, status, message, code] of cases) {
    const error = await refusal(client.completions.create({ ...greedy, ...given } as never))
    assert.equal(error.status, status, error.message)
    assert.match(error.message, message)
    assert.equal(error.code, code, error.message)
    assert.equal(error.type, 'invalid_request_error')
  }
  const post = async (path: string, body: BodyInit, headers: Record<string, string> = {}) => {
    const answer = await fetch(`${url}${path}`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json', ...headers },
    })
    return [answer.status, ((await answer.json()) as { error: { message: string } }).error.message] as const
  }
  const path = '/v1/completions'
  for (const [got, status, message] of [
    [await post(path, '{"model": '), 400, /could not parse the JSON body/],
    [await post(path, Uint8Array.of(0x22, 0xff, 0x22)), 400, /could not parse the JSON body/],
    [await post(path, '[]'), 400, /expected an object, but got an array/],
    [await post(path, '{}', { 'content-type': 'text/plain' }), 415, /must be 'application\/json'/],
    [await post(path, 'x'.repeat(5e6)), 413, /at most 4194304 bytes/],
    [await post('/v1/embeddings', '{}'), 404, /Invalid URL \(POST \/v1\/embeddings\)/],
    [await post('/v1/models', '{}'), 405, /Not allowed to POST on \/v1\/models/],
  ] as const) {
    assert.equal(got[0], status)
    assert.match(got[1], message)
  }
})

test('more than may wait are refused with 429', async () => {
  const ask = (n: number) => client.completions.create({ ...greedy, n, max_tokens: 200, temperature: 1 })
  const first = ask(12)
  while (server.scheduler.count < 12) await new Promise((resolve) => setTimeout(resolve, 1))
  const error = await refusal(ask(4))
  assert.deepEqual([error.status, error.code], [429, 'rate_limit_exceeded'])
  assert.equal(error.headers?.get('retry-after'), '1')
  assert.equal((await first).choices.length, 12)
})

test('a client that goes frees its place', async () => {
  const stream = await client.completions.create({ ...greedy, prompt: 'A', max_tokens: 250, stream: true })
  for await (const _ of stream) break
  stream.controller.abort()
  const whole = new AbortController()
  const asked = client.completions.create({ ...greedy, max_tokens: 250 }, { signal: whole.signal })
  setTimeout(() => whole.abort(), 5)
  await asked.catch(() => {})
  const deadline = performance.now() + 5000
  while (server.scheduler.count > 0 && performance.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, 5))
  assert.equal(server.scheduler.count, 0)
})

test('a page of another site is refused, whatever name it reaches the server by', async () => {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  socket.end('GET /v1/models HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n')
  let answer = ''
  for await (const part of socket) answer += part
  assert.match(answer, /^HTTP\/1.1 403 /)
})

test('openai: a chat, whole and streamed, in parts, with log-probabilities', async () => {
  const messages = [
    { role: 'developer' as const, content: 'Once upon ' },
    { role: 'user' as const, content: [{ type: 'text' as const, text: 'a time' }] },
  ]
  const asked = { model: id, messages, temperature: 0, max_completion_tokens: 20 }
  const { choices, object } = await client.chat.completions.create({
    ...asked,
    logprobs: true,
    top_logprobs: 2,
  })
  const [{ message, finish_reason, logprobs }] = choices
  assert.deepEqual([object, message.role, finish_reason], ['chat.completion', 'assistant', 'length'])
  assert.equal(message.content, alone.text)
  for (const [i, { token, logprob, bytes, top_logprobs }] of (logprobs?.content ?? []).entries()) {
    assert.ok(Math.abs(logprob - (alone.logprobs?.[i].logprob ?? NaN)) < 1e-3)
    assert.deepEqual(bytes, [...new TextEncoder().encode(token)])
    assert.equal(top_logprobs.length, 2)
  }
  assert.equal(logprobs?.content?.length, 20)
  let streamed = ''
  const deltas = await client.chat.completions.create({ ...asked, stream: true })
  for await (const chunk of deltas) streamed += chunk.choices[0].delta.content ?? ''
  assert.equal(streamed, alone.text)
})

test('a chat that cannot be is told why', async () => {
  const ask = (given: object) => {
    const messages = [{ role: 'user', content: 'hi' }]
    return refusal(client.chat.completions.create({ model: id, messages, ...given } as never))
  }
  for (const [given, message] of [
    [{ messages: [] }, /empty array/],
    [{ messages: [{ content: 'hi' }] }, /messages\[0\].role/],
    [{ messages: [{ role: 'user', content: [{ type: 'image_url' }] }] }, /must be { type: 'text', text }/],
    [{ messages: [{ role: 'user', content: 'word '.repeat(2000) }] }, /maximum context length is 256/],
    [{ tools: [{ type: 'function' }] }, /'tools' is not supported/],
    [{ response_format: { type: 'json_object' } }, /'response_format' is not supported/],
    [{ top_logprobs: 2 }, /only allowed when 'logprobs'/],
  ] as const) {
    const error = await ask(given)
    assert.equal(error.status, 400)
    assert.match(error.message, message)
  }
})

test('what a user types spells no special tokens', async () => {
  const count = async (content: string) => {
    const messages = [{ role: 'user' as const, content }]
    const { usage } = await client.chat.completions.create({ model: id, messages, max_tokens: 1 })
    return usage?.prompt_tokens ?? NaN
  }
  // `</s>` is one token where it is parsed.
  assert.ok((await count('a</s>')) > (await count('a')) + 1)
})

test('a model without a chat template is told so', async () => {
  const plain = await loadCausalLM(stories, { device })
  const other = new CompletionServer({ model: plain, id, size: 1, capacity: 64, queue: 1, apiKey: 'secret' })
  const baseURL = `${await other.listen('127.0.0.1', 0)}/v1`
  const messages = [{ role: 'user' as const, content: 'hi' }]
  const ask = (apiKey: string) =>
    refusal(new OpenAI({ baseURL, apiKey }).chat.completions.create({ model: id, messages }))
  assert.match((await ask('secret')).message, /has no chat_template/)
  assert.deepEqual([(await ask('guess')).status, (await ask('guess')).code], [401, 'invalid_api_key'])
  await other.close()
  plain.dispose()
})

const provider = createOpenAICompatible({ name: 'lowbit', baseURL: `${url}/v1` })

test('AI SDK: a chat, whole and streamed', async () => {
  const asked = { model: provider(id), prompt, temperature: 0, maxOutputTokens: 20, maxRetries: 0 }
  const whole = await generateText(asked)
  assert.deepEqual([whole.text, whole.finishReason], [alone.text, 'length'])
  assert.equal(whole.usage.outputTokens, 20)
  let streamed = ''
  for await (const piece of streamText(asked).textStream) streamed += piece
  assert.equal(streamed, alone.text)
})

test('AI SDK: a completion', async () => {
  // It writes the turns of a prompt as text, whose stop strings end the answer before a turn of the user.
  const { text } = await generateText({ model: provider.completionModel(id), prompt, maxOutputTokens: 5 })
  assert.equal(typeof text, 'string')
})
