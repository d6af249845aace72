import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { type IPty, spawn as openTerminal } from '@lydell/node-pty'
import { copyOf, editJson, ended, json, main, printed, stories, temporaryFolder } from './lowbit.ts'

/*
 * The chat, from a pipe and at a terminal: what the model answers is what `lowbit generate --chat` says of the
 * same conversation.
 */

const chat_template =
  '{{ bos_token }}{% for m in messages %}{{ m.content }}{% if m.role == "system" %} {% endif %}{% endfor %}'
const model = copyOf(stories, join(temporaryFolder(), 'chat'), (folder) =>
  editJson(folder, 'tokenizer_config.json', (config) => Object.assign(config, { chat_template })),
)
const start = (args: string[]) =>
  spawn(process.execPath, ['--conditions=lowbit-source', main, 'chat', model, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
  })

/** What a chat prints that gets this from a pipe. */
async function piped(input: string | Uint8Array, ...args: string[]) {
  const child = start(args)
  child.stdin.end(input)
  return ended(child)
}

/** What the model says of a prompt. */
const continued = async (prompt: string, count: number) =>
  (await json('generate', model, prompt, '--chat', '--max-new-tokens', String(count))).text

test('from a pipe: a question a line, answers as generate gives them, each with what was said before', async () => {
  const first = await continued('Once upon a time', 12)
  const second = await continued(`Once upon a time${first}Then\nshe`, 12)
  const { code, stdout, stderr } = await piped('Once upon a time\n\nThen\\\nshe\n', '--max-new-tokens', '12')
  assert.deepEqual([code, stderr, stdout], [0, '', `${first}\n${second}\n`])
})

test('the system message stands first; /clear keeps it, /system replaces it; --json prints the conversation', async () => {
  const said = '"""\nOnce\nupon\n"""\n/clear\nOnce\n/system Lily.\nOnce\n/exit\nnever\n'
  const args = ['--system', 'Tom.', '--max-new-tokens', '6', '--json']
  const { code, stdout } = await piped(said, ...args)
  assert.equal(code, 0)
  const content = await continued('Lily. Once', 6)
  assert.deepEqual(JSON.parse(stdout).messages, [
    { role: 'system', content: 'Lily.' },
    { role: 'user', content: 'Once' },
    { role: 'assistant', content },
  ])
  const lines = (await piped('/system\n/what\n', '--system', 'Tom.')).stdout
  assert.equal(lines, 'Tom.\nThere is no command /what; /help lists them.\n')
})

test('a conversation that fills the context loses its oldest turns, and says so; a message that cannot fit is refused', async () => {
  const long = 'Lily went to the park to play with her friend. '.repeat(12).trim()
  const { code, stderr } = await piped(`${long}\n${long}\n${long}\n`, '--max-new-tokens', '16')
  assert.equal(code, 0)
  assert.match(stderr, /^(\(the context is full: the oldest \d messages were left out\)\n)+$/)
  const tooLong = await piped(`${long.repeat(8)}\n`)
  assert.equal(tooLong.code, 1)
  assert.match(
    tooLong.stderr,
    /^lowbit: chat: a message must fit into the model's context of 512 tokens; with it there are \d+\n$/,
  )
})

test('what is no text is refused; a model without a template, too', async () => {
  const { code, stderr } = await piped(Buffer.from('On\xffce\n', 'latin1'))
  assert.deepEqual([code, stderr], [1, 'lowbit: stdin: text must be valid UTF-8; it is not\n'])
  const { stdout } = await printed('chat', '--help')
  assert.match(stdout, /--system <text>/)
  const bare = spawn(process.execPath, ['--conditions=lowbit-source', main, 'chat', stories], {
    stdio: 'pipe',
  })
  assert.match((await ended(bare)).stderr, /has no chat_template/)
})

/** A chat at a terminal. */
class Terminal {
  private readonly terminal: IPty
  private seen = ''
  private wake = () => {}
  readonly end: Promise<number>

  constructor(...args: string[]) {
    const command = ['--conditions=lowbit-source', main, 'chat', model, ...args]
    this.terminal = openTerminal(process.execPath, command, { cols: 200 })
    this.terminal.onData((piece) => {
      // Without what moves the cursor.
      // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what begins such a sequence
      this.seen += piece.replace(/\x1b\[[\d;]*[A-Za-z]/g, '').replaceAll('\r', '')
      this.wake()
    })
    this.end = new Promise((resolve) => this.terminal.onExit(({ exitCode }) => resolve(exitCode)))
  }

  type(keys: string): void {
    this.terminal.write(keys)
  }

  /** Waits for a text, and returns what came before it since the last one. */
  async until(text: string): Promise<string> {
    while (!this.seen.includes(text)) {
      const more = new Promise<boolean>((resolve) => {
        this.wake = () => resolve(true)
      })
      const timeout = AbortSignal.timeout(30_000)
      const late = new Promise<boolean>((resolve) => timeout.addEventListener('abort', () => resolve(false)))
      assert.ok(await Promise.race([more, late]), `${JSON.stringify(text)} must come; there is ${this.seen}`)
    }
    const at = this.seen.indexOf(text)
    const before = this.seen.slice(0, at)
    this.seen = this.seen.slice(at + text.length)
    return before
  }
}

test('at a terminal: answers, the line before by the arrow, several lines, commands, Ctrl-C and Ctrl-D', async () => {
  const terminal = new Terminal('--max-new-tokens', '12')
  assert.match(await terminal.until('> '), /\/help lists commands/)
  const first = await continued('Once upon a time', 12)
  terminal.type('Once upon a time\r')
  await terminal.until('Once upon a time\n')
  assert.equal(await terminal.until('\n> '), first)
  terminal.type('/clear\r')
  await terminal.until('\n> ')
  // Up twice: the question before the command.
  terminal.type('\x1b[A\x1b[A\r')
  await terminal.until('Once upon a time\n')
  assert.equal(await terminal.until('\n> '), first)
  terminal.type('/system Tom\\\r')
  await terminal.until('\n. ')
  terminal.type('and Lily\r')
  await terminal.until('\n> ')
  terminal.type('/system\r')
  await terminal.until('Tom\nand Lily\n')
  await terminal.until('> ')
  terminal.type('never said\x03')
  await terminal.until('\n> ')
  terminal.type('\x03')
  await terminal.until('(Ctrl-D or /exit leaves)')
  await terminal.until('\n> ')
  terminal.type('\x04')
  assert.equal(await terminal.end, 0)
})

test('at a terminal: Ctrl-C ends an answer, and the chat goes on', async () => {
  const terminal = new Terminal('--max-new-tokens', '100000', '--no-eos', '--temperature', '1')
  await terminal.until('> ')
  terminal.type('Once upon a time\r')
  await terminal.until('Once upon a time\n')
  await terminal.until(' ')
  terminal.type('\x03')
  await terminal.until('\n> ')
  // Said while an answer comes: it waits for it.
  terminal.type('Then\r')
  await terminal.until('Then\n')
  terminal.type('/system\r\x03')
  await terminal.until('> /system\n')
  await terminal.until('There is no system message.\n')
  terminal.type('/exit\r')
  assert.equal(await terminal.end, 0)
})
