import { Client } from './client.ts'
import type { LowbitOptions } from './lowbit.ts'
import { decodePrompt } from './measure.ts'
import type { Setting } from './worker.ts'

/** What is started: lowbit, or llama.cpp with the file of a model. */
export type Subject = LowbitOptions | string

/** How soon a process is of use; medians, in milliseconds. */
export interface Start {
  loadMs: number
  /** From its start to the first token behind a passage. */
  firstTokenMs: number
}

export const startOf = async (subject: Subject): Promise<Client> =>
  typeof subject === 'string' ? Client.peer(subject) : Client.lowbit(subject)

/** The beginning of a text that is about 128 tokens of the model's. */
export async function passageOf(subject: Subject, text: string): Promise<string> {
  using client = await startOf(subject)
  await client.load()
  let length = 4 * decodePrompt
  for (let i = 0; i < 3; i++) {
    const { length: tokens } = await client.encode(text.slice(0, length))
    length = Math.round((length * decodePrompt) / tokens)
  }
  return text.slice(0, length)
}

/**
 * Fresh processes of each subject in alternating rounds, the file in the page cache: they start, load, read a
 * passage, and write a token.
 */
export async function measureStarts(
  subjects: ReadonlyMap<string, Subject>,
  passage: string,
  setting: Setting,
  rounds = 5,
): Promise<Map<string, Start>> {
  const measured = new Map([...subjects.keys()].map((name) => [name, [] as Start[]]))
  for (let round = 0; round < rounds; round++)
    for (const [name, subject] of subjects) {
      const started = performance.now()
      using client = await startOf(subject)
      const { loadMs } = await client.load()
      const prompt = await client.encode(passage)
      await client.run({ prompt, newTokens: 1, setting })
      measured.get(name)?.push({ loadMs, firstTokenMs: performance.now() - started })
    }
  const median = (numbers: number[]) => numbers.sort((a, b) => a - b)[numbers.length >> 1]
  return new Map(
    [...measured].map(([name, starts]) => [
      name,
      {
        loadMs: median(starts.map(({ loadMs }) => loadMs)),
        firstTokenMs: median(starts.map(({ firstTokenMs }) => firstTokenMs)),
      },
    ]),
  )
}
