import assert from 'node:assert/strict'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { copyOf, editJson, editTensors, golden, lowbit, stories, temporaryFolder } from './lowbit.ts'

/*
 * Whatever is wrong with the input: exit code 1, nothing on stdout, one line on stderr that says what is
 * wrong and where, nothing written.
 */

export interface Case {
  name: string
  /** The message must say this. */
  says: RegExp
  /** The arguments; default: quantize the broken model, which reads all of it. */
  args?: (model: string) => string[]
  /** What is done to a copy of `model`. */
  change?: (folder: string) => void
  model?: string
}

export const weights = 'model.safetensors'
export const first = 'model.embed_tokens.weight'
export const qint4 = join(golden, 'quanto-qint4')

export const config = (key: string, value: unknown) => (folder: string) =>
  editJson(folder, 'config.json', (json) => Object.assign(json, { [key]: value }))
export const write = (file: string, content: string | Uint8Array) => (folder: string) =>
  writeFileSync(join(folder, file), content)
export const entry =
  (change: (entry: { dtype: string; shape: number[]; data_offsets: number[] }, data: Buffer) => void) =>
  (folder: string) =>
    editTensors(folder, (header, data) => {
      change(header[first], data)
    })
export const on = (...args: string[]) => ({ args: (model: string) => [args[0], model, ...args.slice(1)] })
export const evaluateText = (content: string | Uint8Array, ...args: string[]) => ({
  args: (model: string) => ['evaluate', model, '--text', join(model, 'text.txt'), ...args],
  change: write('text.txt', content),
})

export const calibrateOn = (content: string) => ({
  args: (model: string) => {
    const calibration = ['--activations', 'int8', '--calibration', join(model, 'text.txt')]
    return ['quantize', model, '--weights', 'int8', ...calibration, '--out', 'OUT']
  },
  change: write('text.txt', content),
})

export const root = temporaryFolder()
let count = 0

/** Without a line break, and with the folders of this run called MODEL and OUT. */
function shown(stderr: string, model: string, out: string): string {
  return stderr.trimEnd().replaceAll(out, 'OUT').replaceAll(model, 'MODEL')
}

/** A test of each group, whose cases run two at a time. */
export function testBadInput(groups: Record<string, readonly Case[]>): void {
  for (const [group, cases] of Object.entries(groups)) {
    test(`bad input: ${group}`, { concurrency: 2 }, async (t) => {
      const check = async ({ name, says, args, change, model = stories }: Case) => {
        const place = join(root, `${count++}`)
        const folder = copyOf(model, join(place, 'model'), change ?? (() => {}))
        const out = join(place, 'out')
        const given = args?.(folder) ?? ['quantize', folder, '--weights', 'int8', '--out', out]
        const { code, stdout, stderr } = await lowbit(...given.map((arg) => (arg === 'OUT' ? out : arg)))
        t.diagnostic(`${name} → ${shown(stderr, folder, out)}`)
        assert.match(shown(stderr, folder, out), says)
        assert.match(stderr, /^lowbit: (?!internal fault)[^\n]+\n$/, 'one line')
        assert.doesNotMatch(stderr, /^ {4}at /m)
        assert.equal(stdout, '')
        assert.equal(code, 1)
        assert.deepEqual(readdirSync(place), ['model'], 'nothing written')
      }
      await Promise.all(cases.map((one) => t.test(one.name, () => check(one))))
    })
  }
}

/** Gives one tensor another name. */
export function editJsonKey(folder: string, from: string, to: string): void {
  editTensors(folder, (header) => JSON.stringify(header).replace(JSON.stringify(from), JSON.stringify(to)))
}

/** Adds the token `zz` with an id that does not fit. */
export function setToken(folder: string, id: unknown): void {
  editJson(folder, 'tokenizer.json', (json) => {
    const { vocab } = json.model as { vocab: Record<string, unknown> }
    vocab.zz = id
  })
}
