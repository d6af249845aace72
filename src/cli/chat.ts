import { DeviceError, FormatError, ShapeError } from '../core/errors.ts'
import { type Lines, PipedLines, TypedLines } from './chatLines.ts'
import { Conversation } from './conversation.ts'
import { type GenerateCommandOptions, generateOptions } from './generate.ts'
import { interrupted } from './interrupt.ts'
import { loadModel, withDevice } from './model.ts'
import { printJson } from './output.ts'

export type ChatCommandOptions = GenerateCommandOptions & { system?: string }

const help = `/system TEXT   set the system message, and begin anew; without a text, show it
/clear         begin anew
/help          print this
/exit          leave; Ctrl-D does, too
A \\ at the end of a line goes on in the next; lines between """ and """ are one message.
Ctrl-C ends an answer.
`

/** `lowbit chat`: questions from a person at a terminal, or one a line from a pipe; answers as they come. */
export async function chatCommand(path: string, options: ChatCommandOptions): Promise<void> {
  await withDevice(options, async (device) => {
    const model = await loadModel(path, device, options, { prepareTokenizer: true })
    if (!model.tokenizer)
      throw new FormatError(
        `${path}: must hold a tokenizer, which turns the prompt into tokens: tokenizer.json, vocab.json and merges.txt, or tokenizer.model; it holds none that can be read`,
      )
    const { chatTemplate: template } = options
    using conversation = new Conversation(model, model.tokenizer, { ...generateOptions(options), template })
    conversation.system = options.system
    // A model without a template is told of before anybody has typed a question.
    await model.tokenizer.applyChatTemplate([{ role: 'user', content: 'hi' }], { template })
    const isTyped = process.stdin.isTTY && process.stdout.isTTY && !options.json
    const lines = isTyped ? await TypedLines.open() : new PipedLines()
    if (isTyped) process.stdout.write(`${path} on ${device.name}; /help lists commands\n`)
    try {
      await converse(conversation, lines, options)
    } finally {
      lines.close()
    }
    interrupted.throwIfAborted()
    if (options.json) printJson({ messages: conversation.messages })
  })
}

async function converse(
  conversation: Conversation,
  lines: Lines,
  options: ChatCommandOptions,
): Promise<void> {
  const isTyped = lines instanceof TypedLines
  for (;;) {
    const said = await nextMessage(lines)
    if (said === null) return
    if (said.trim() === '') continue
    const command = /^\/(\w+)(?:\s+(.*))?\s*$/s.exec(said)
    if (command) {
      const [, name, text] = command
      if (name === 'exit') return
      const reply = obey(conversation, name, text)
      if (!options.json) process.stdout.write(reply)
      continue
    }
    try {
      await answer(conversation, lines, said, options)
    } catch (error) {
      // At a terminal the next question may fare better.
      const isOurs = [ShapeError, FormatError, DeviceError].some((kind) => error instanceof kind)
      if (!isTyped || !isOurs) throw error
      process.stdout.write(`${(error as Error).message}\n`)
    }
  }
}

/** Does what a command says; returns what it has to say. */
function obey(conversation: Conversation, name: string, text: string | undefined): string {
  if (name === 'help') return help
  if (name === 'clear') {
    conversation.clear()
    return ''
  }
  if (name === 'system') {
    if (text === undefined) return `${conversation.system ?? 'There is no system message.'}\n`
    conversation.system = text
    return ''
  }
  return `There is no command /${name}; /help lists them.\n`
}

async function answer(
  conversation: Conversation,
  lines: Lines,
  said: string,
  options: ChatCommandOptions,
): Promise<void> {
  const show = (piece: string) => {
    if (!options.json) process.stdout.write(lines instanceof TypedLines ? harmless(piece) : piece)
  }
  const { forgotten } = await lines.during((signal) => conversation.say(said, show, signal))
  if (options.json) return
  process.stdout.write('\n')
  if (forgotten > 0)
    process.stderr.write(`(the context is full: the oldest ${forgotten} messages were left out)\n`)
}

/** A message: a line, lines that end in a backslash with the one behind them, or lines between `"""`. */
async function nextMessage(lines: Lines): Promise<string | null> {
  let line = await lines.next('> ')
  if (line === null) return null
  if (line.trimStart().startsWith('"""')) return block(lines, line.trimStart().slice(3))
  const parts: string[] = []
  while (line?.endsWith('\\')) {
    parts.push(line.slice(0, -1))
    line = await lines.next('. ')
  }
  return [...parts, line ?? ''].join('\n')
}

async function block(lines: Lines, first: string): Promise<string> {
  const parts: string[] = []
  for (let line: string | null = first; line !== null; line = await lines.next('. ')) {
    if (line.trimEnd().endsWith('"""')) {
      parts.push(line.trimEnd().slice(0, -3))
      break
    }
    parts.push(line)
  }
  return parts.join('\n').replace(/^\n|\n$/g, '')
}

/** Text without the characters by which a model could speak to the terminal. */
function harmless(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is removed
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '')
}
