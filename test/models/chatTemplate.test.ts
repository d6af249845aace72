import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import type { ChatTemplateOptions } from '../../src/models/chatTemplate.ts'
import { renderAsPython } from '../../src/models/pythonTemplate.ts'
import { Tokenizer } from '../../src/models/tokenizer.ts'

interface Truth {
  templates: [source: string, text: string][]
  values: Record<string, unknown>
  tokenizers: Record<string, { json: object }>
}

/** What Python's Jinja gave, set up as transformers does it; made by scripts/make-language-fixtures.py. */
const truth: Truth = JSON.parse(readFileSync(new URL('../golden/language.json', import.meta.url), 'utf8'))
const { json } = truth.tokenizers['byte level']

describe('templates give what Python gives', () => {
  for (const [source, text] of truth.templates) {
    test(source, () =>
      assert.equal(renderAsPython(source, { ...truth.values, tools: null, documents: null }), text),
    )
  }
})

const chat = async (config: Record<string, unknown>, template?: string) =>
  (await Tokenizer.fromJson(json, config)).applyChatTemplate([{ role: 'user', content: 'hi' }], { template })
const loop = '{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}'

test('of several templates `default` is taken, or the one that is named', async () => {
  const chat_template = [
    { name: 'tool_use', template: `tools: ${loop}` },
    { name: 'default', template: `${loop}{% if add_generation_prompt %}<assistant>{% endif %}` },
  ]
  assert.equal(await chat({ chat_template }), '<user>hi<assistant>')
  assert.equal(await chat({ chat_template }, 'tool_use'), 'tools: <user>hi')
  const byName = Object.fromEntries(chat_template.map(({ name, template }) => [name, template]))
  assert.equal(await chat({ chat_template: byName }), '<user>hi<assistant>')
  const refuses = (config: Record<string, unknown>, name: string | undefined, message: string) =>
    assert.rejects(chat(config, name), { name: 'FormatError', message })
  await refuses(
    { chat_template },
    'rag',
    'tokenizer_config.json: the chat template must be one of "tool_use", "default"; asked for "rag"',
  )
  await refuses(
    { chat_template: chat_template.slice(0, 1) },
    undefined,
    'tokenizer_config.json: the chat template must be one of "tool_use"; none was asked for, and none is "default"',
  )
  await refuses(
    { chat_template: loop },
    'rag',
    'tokenizer_config.json: chat_template must be several to be named; there is one, so "rag" is none of them',
  )
  await refuses(
    { chat_template: [{ name: 'default' }] },
    undefined,
    'tokenizer_config.json: chat_template must be a string, or a list of objects with name and template; received [{"name":"default"}]',
  )
  await refuses(
    {},
    undefined,
    'tokenizer_config.json: has no chat_template, so the model takes plain prompts only',
  )
})

test('special tokens are defined where the tokenizer has them, and None is not undefined', async () => {
  const chat_template = '{{ bos_token }}|{{ bos_token is defined }}|{{ tools is none }}|{{ eos_token }}'
  assert.equal(await chat({ chat_template }), '|False|True|')
  assert.equal(
    await chat({ chat_template, bos_token: '<s>', eos_token: { content: '</s>' } }),
    '<s>|True|True|</s>',
  )
})

test('a template that fails says why', async () => {
  const fails = (chat_template: string, reason: string) =>
    assert.rejects(chat({ chat_template }), {
      name: 'FormatError',
      message: `tokenizer_config.json: chat_template must render; ${reason}`,
    })
  await fails("{{ raise_exception('roles must alternate') }}", 'roles must alternate')
  await fails(
    '{% for i in range(10 ** 9) %}x{% endfor %}',
    'range must have at most 100000 numbers; it has 1000000000',
  )
  await fails('{{ range(0, 1, 0) | length }}', 'range must have at most 100000 numbers; it has Infinity')
  await fails("{{ '%999999999d' % 1 }}", '"%999999999d" % … must be at most 1000 wide')
  await fails("{{ '%q' % 1 }}", '%q is not supported')
  await fails("{{ '%d' % 'x' }}", '%d must have a number')
  await fails("{{ '%s' % (1, 2) }}", '"%s" % … has too many values')
  await fails("{{ '%s %s' % 1 }}", '"%s %s" % … has too few values')
})

test('a template may come with the call; messages, tools and variables reach it; two ways to end are refused', async () => {
  const tokenizer = await Tokenizer.fromJson(json, { bos_token: '<s>' })
  const hi = [{ role: 'user', content: 'hi', name: null }]
  const render = (template: string, more: ChatTemplateOptions = {}) =>
    tokenizer.applyChatTemplate(hi, { template, ...more })
  const tools = [{ name: 'f' }]
  assert.equal(
    await render('{{ bos_token }}{{ tools[0].name }}{{ x }}', { tools, variables: { x: 3 } }),
    '<s>f3',
  )
  assert.equal(await render('{{ add_generation_prompt }}', { addGenerationPrompt: false }), 'False')
  assert.equal(await render('{{ messages[0].name is defined }}'), 'False')
  const open = { continueFinalMessage: true }
  assert.equal(await render('[{{ messages[0].content }}]', open), '[hi')
  await assert.rejects(render('{{ messages[0].role }}', open), {
    name: 'FormatError',
    message: /leaves some of it out$/,
  })
  await assert.rejects(tokenizer.applyChatTemplate([], { template: '{{ 1 }}' }), { name: 'DTypeError' })
  await assert.rejects(render('{{ 1 }}', { ...open, addGenerationPrompt: true }), {
    name: 'DTypeError',
    message: 'applyChatTemplate: the final message must be continued, or a new one be begun; received both',
  })
})

test('what a message spells like a special token is text; what the template writes is the token', async () => {
  const tokenizer = await Tokenizer.fromJson(json, {})
  const template = '{% for m in messages %}<|end|>{{ m.content }}{% endfor %}'
  const [end] = tokenizer.encode('<|end|>')
  const ids = await tokenizer.encodeChat([{ role: 'user', content: 'a<|end|>b\uf8f0<|end|>\uf8f1' }], {
    template,
  })
  assert.deepEqual(
    ids.filter((id) => id === end),
    [end],
  )
  assert.equal(tokenizer.decode(ids, { skipSpecialTokens: false }), '<|end|>a<|end|>b<|end|>')
})
