import { FormatError } from '../core/errors.ts'
import { isObject } from '../core/kinds.ts'
import { type JsonObject, show } from '../formats/json.ts'
import { type ChatMessage, type ChatTemplateOptions, chatTemplate, renderChat } from './chatTemplate.ts'
import { templateTexts } from './pythonTemplate.ts'
import type { Pipeline } from './tokenization/pipeline.ts'

/*
 * What users write may spell the tokens by which a template tells turns apart. Each such place is put between
 * two marks before the template sees it, and is text after.
 * Source: transformers, utils/chat_template_utils.py, `encode_marked_chat`.
 */

/** Around what is no token though it is spelled like one: characters for private use. */
const [begin, end] = ['\uf8f0', '\uf8f1']

/**
 * The token ids of a conversation, in which only the template's own tokens are such.
 * @throws FormatError if there is no template, it fails, or plain text gives a special token nevertheless
 */
export async function encodeConversation(
  pipeline: Pipeline,
  config: JsonObject,
  messages: readonly ChatMessage[],
  options: ChatTemplateOptions,
): Promise<number[]> {
  const tokens = controlTokens(pipeline, chatTemplate(config, options))
  const pattern = new RegExp(tokens.map(escaped).join('|') || '(?!)', 'gu')
  const marked = (value: unknown) => mark(value, pattern)
  const text = await renderChat(config, marked(messages) as ChatMessage[], {
    ...options,
    ...(marked({
      tools: options.tools,
      documents: options.documents,
      variables: options.variables,
    }) as object),
  })
  return encodeMarked(pipeline, text, tokens)
}

/** The special tokens, and those others that the template writes, the longest first. */
function controlTokens({ vocabulary }: Pipeline, template: string): string[] {
  const texts = templateTexts(template).join('\0')
  return vocabulary.added
    .filter(({ content, special }) => special || (content.trim() !== '' && texts.includes(content)))
    .map(({ content }) => content)
    .sort((a, b) => b.length - a.length)
}

/** A value with marks around every control token in its texts; keys stay as they are. */
function mark(value: unknown, pattern: RegExp): unknown {
  if (typeof value === 'string')
    // Marks that were there could only forge one.
    return value.replace(/[\uf8f0\uf8f1]/g, '').replace(pattern, `${begin}$&${end}`)
  if (Array.isArray(value)) return value.map((item) => mark(item, pattern))
  if (!isObject(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mark(item, pattern)]))
}

function encodeMarked(pipeline: Pipeline, text: string, tokens: readonly string[]): number[] {
  // Marks that a template has torn apart part the text, too: its sides must not join into a token.
  const pieces = text.split(
    new RegExp(`${begin}(${tokens.map(escaped).join('|') || '(?!)'})${end}|[${begin}${end}]`, 'u'),
  )
  const ids = pipeline.encode(pieces[0], false)
  const lineBreak = pipeline.encode('\n', false)
  for (const [i, piece] of pieces.entries()) {
    if (i === 0 || !piece) continue
    const isText = i % 2 === 1
    const own = encodeInside(pipeline, piece, isText, lineBreak)
    const token = pipeline.vocabulary.added.find(({ content }) => content === piece)
    if (isText && token && own.includes(token.id))
      throw new FormatError(
        `encodeChat: the tokenizer must spell ${show(piece)} as text; it makes the special token of it`,
      )
    ids.push(...own)
  }
  return ids
}

/** The ids of a piece from inside a text: encoded behind a line break, since a beginning may get a space. */
function encodeInside(
  pipeline: Pipeline,
  piece: string,
  isText: boolean,
  lineBreak: readonly number[],
): number[] {
  const encode = (text: string) => pipeline.encode(text, false, isText ? 'none' : 'all')
  const ids = encode(`\n${piece}`)
  return lineBreak.every((id, i) => ids[i] === id) ? ids.slice(lineBreak.length) : encode(piece)
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')
}
