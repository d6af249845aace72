import { DTypeError, FormatError } from '../core/errors.ts'
import { aBoolean, anObject, aString, either, isObject, listOf } from '../core/kinds.ts'
import type { OptionKinds } from '../core/options.ts'
import { type JsonObject, show } from '../formats/json.ts'

/** One turn of a conversation, as chat templates take it. */
export interface ChatMessage {
  role: 'system' | 'user' | 'assistant' | (string & {})
  /** Text, or parts such as `{ type: 'text', text }`; a message that calls tools may have none. */
  content?: string | readonly Readonly<Record<string, unknown>>[] | null
  /** What else the template reads, by its names there: `tool_calls`, `name`, `reasoning_content` … */
  [field: string]: unknown
}

/** How a conversation becomes a prompt: transformers' options of `apply_chat_template`. */
export interface ChatTemplateOptions {
  /**
   * The name of one of several templates, or a template's own text. Default: the only one; of several
   * `tool_use` where there are tools, else `default`.
   */
  template?: string
  /** Functions that the model may call, each as a JSON schema. */
  tools?: readonly object[]
  /** Texts that the model may quote, each { title, text }. */
  documents?: readonly object[]
  /**
   * Whether the prompt ends where the assistant's answer begins; default: unless the final message is
   * continued.
   */
  addGenerationPrompt?: boolean
  /**
   * Whether the final message is left open, so that the model goes on with it; or which of its fields, such
   * as `reasoning_content`.
   */
  continueFinalMessage?: boolean | string
  /** What else the template may name, by the names there, such as `enable_thinking`. */
  variables?: Readonly<Record<string, unknown>>
}

export const chatTemplateKinds: OptionKinds<ChatTemplateOptions> = {
  template: aString,
  tools: listOf('objects', anObject),
  documents: listOf('objects', anObject),
  addGenerationPrompt: aBoolean,
  continueFinalMessage: either('be true, false or the name of a field', aBoolean, aString),
  variables: anObject,
}

/** What templates may name: those of tokenizer_config.json, where it has them. */
const specialTokens = [
  'bos_token',
  'eos_token',
  'unk_token',
  'sep_token',
  'pad_token',
  'cls_token',
  'mask_token',
]

/** The names under which a message's reasoning is given; templates read the first, or the second. */
const reasoningFields = ['reasoning_content', 'thinking', 'reasoning']

/** Stands where a message ends that is to be continued. */
const openEnd = 'CONTINUE_FINAL_MESSAGE_TAG '

/**
 * The prompt for a conversation, rendered as transformers does.
 * Source: transformers, utils/chat_template_utils.py, `render_jinja_template`.
 * @param config tokenizer_config.json
 * @throws FormatError if there is no such template, or it fails
 */
export async function renderChat(
  config: JsonObject,
  messages: readonly ChatMessage[],
  options: ChatTemplateOptions = {},
): Promise<string> {
  const { tools, documents, continueFinalMessage = false, variables } = options
  const { addGenerationPrompt = continueFinalMessage === false } = options
  if (addGenerationPrompt && continueFinalMessage !== false)
    throw new DTypeError(
      'applyChatTemplate: the final message must be continued, or a new one be begun; received both',
    )
  if (messages.length === 0)
    throw new DTypeError('applyChatTemplate: there must be at least one message; received none')
  const source = chatTemplate(config, options)
  const special = specialTokens.flatMap((key) => {
    const text = tokenText(config.get(key))
    return text === undefined ? [] : [[key, text]]
  })
  const turns = messages.map(asTemplatesReadIt)
  const field = continueFinalMessage === true ? 'content' : continueFinalMessage
  const open = field === false ? null : openFinalMessage(config, turns, field)
  // Loaded when used: most calls have no chat.
  const { renderAsPython } = await import('./pythonTemplate.ts')
  let text: string
  try {
    text = renderAsPython(source, {
      ...Object.fromEntries(special),
      messages: turns,
      tools: tools ?? null,
      documents: documents ?? null,
      add_generation_prompt: addGenerationPrompt,
      ...variables,
    })
  } catch (cause) {
    throw new FormatError(
      `${config.name}: chat_template must render; ${cause instanceof Error ? cause.message : cause}`,
      { cause },
    )
  }
  return open === null ? text : upToOpenEnd(config, text, open)
}

/** A message without fields that are null, and with its reasoning under the names that templates read. */
function asTemplatesReadIt(message: ChatMessage): Record<string, unknown> {
  const given = Object.entries(message).filter(([, value]) => value !== null && value !== undefined)
  const fields = Object.fromEntries(given)
  const reasoning = reasoningFields.map((name) => fields[name]).find((value) => value !== undefined)
  return reasoning === undefined ? fields : { thinking: reasoning, ...fields, reasoning_content: reasoning }
}

/** Marks the end of the final message's field, or of its last text; returns that text. */
function openFinalMessage(config: JsonObject, turns: Record<string, unknown>[], field: string): string {
  const last = turns[turns.length - 1]
  const value = last[field]
  if (typeof value === 'string') {
    const fields = reasoningFields.includes(field)
      ? reasoningFields.filter((name) => last[name] === value)
      : [field]
    for (const name of fields) last[name] = value + openEnd
    return value
  }
  const parts: unknown[] = Array.isArray(value) ? value : []
  const at = parts.findLastIndex((part) => isObject(part) && typeof part.text === 'string')
  const part = parts[at]
  if (!isObject(part))
    throw new FormatError(
      `${config.name}: the final message must have a text as ${show(field)}, to be continued; it has ${show(value)}`,
    )
  last[field] = parts.with(at, { ...part, text: `${part.text}${openEnd}` })
  return String(part.text)
}

function upToOpenEnd(config: JsonObject, text: string, message: string): string {
  const at = text.lastIndexOf(openEnd.trim())
  if (at < 0 || !text.includes(message.trim()))
    throw new FormatError(
      `${config.name}: chat_template must write the whole of a message that is to be continued; it leaves some of it out`,
    )
  // A template that trims messages has taken the mark's space, too.
  return text.startsWith(openEnd, at) ? text.slice(0, at) : text.slice(0, at).trimEnd()
}

/** The template that the options name, or bring; the only one, or that of several which is meant. */
export function chatTemplate(config: JsonObject, { template: name, tools }: ChatTemplateOptions): string {
  if (name !== undefined && /\{[{%#]/.test(name)) return name
  if (!config.has('chat_template')) {
    throw new FormatError(`${config.name}: has no chat_template, so the model takes plain prompts only`)
  }
  const listed = config.get('chat_template')
  if (typeof listed !== 'object' || listed === null) {
    if (name === undefined || name === 'default') return config.string('chat_template')
    throw new FormatError(
      `${config.name}: chat_template must be several to be named; there is one, so ${show(name)} is none of them`,
    )
  }
  const templates = new Map<string, string>()
  // A list of names and templates, or an object of templates by name.
  for (const [key, entry] of Object.entries(listed)) {
    const [named, template] = Array.isArray(listed) ? [entry?.name, entry?.template] : [key, entry]
    if (typeof named !== 'string' || typeof template !== 'string') {
      throw config.error('chat_template', 'must be a string, or a list of objects with name and template')
    }
    templates.set(named, template)
  }
  const usual = tools && templates.has('tool_use') ? 'tool_use' : 'default'
  const found = templates.get(name ?? usual)
  if (found !== undefined) return found
  const names = [...templates.keys()].map(show).join(', ')
  const asked = name === undefined ? 'none was asked for, and none is "default"' : `asked for ${show(name)}`
  throw new FormatError(`${config.name}: the chat template must be one of ${names}; ${asked}`)
}

/** A special token is written as a string, or as an object with its content. */
function tokenText(value: unknown): string | undefined {
  const text = typeof value === 'object' && value !== null && 'content' in value ? value.content : value
  return typeof text === 'string' ? text : undefined
}
