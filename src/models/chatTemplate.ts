import { FormatError } from '../core/errors.ts'
import { type JsonObject, show } from '../formats/json.ts'

/** One turn of a conversation, as chat templates take it. */
export interface ChatMessage {
  role: 'system' | 'user' | 'assistant' | (string & {})
  content: string
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

/**
 * The prompt for a conversation, rendered as transformers does.
 * @param config tokenizer_config.json
 * @param name of one of several templates
 * @throws FormatError if there is no such template, or it fails
 */
export async function renderChat(
  config: JsonObject,
  messages: readonly ChatMessage[],
  name?: string,
): Promise<string> {
  const source = chatTemplate(config, name)
  const special = specialTokens.flatMap((key) => {
    const text = tokenText(config.get(key))
    return text === undefined ? [] : [[key, text]]
  })
  // Loaded when used: most calls have no chat.
  const { renderAsPython } = await import('./pythonTemplate.ts')
  try {
    return renderAsPython(source, {
      ...Object.fromEntries(special),
      messages,
      tools: null,
      documents: null,
      add_generation_prompt: true,
    })
  } catch (cause) {
    throw new FormatError(
      `${config.name}: chat_template must render; ${cause instanceof Error ? cause.message : cause}`,
      { cause },
    )
  }
}

/** The only template; of several, which are listed with their names, the one asked for, or `default`. */
function chatTemplate(config: JsonObject, name: string | undefined): string {
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
  const found = templates.get(name ?? 'default')
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
