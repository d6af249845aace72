import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { readQuestions } from '../../src/cli/evaluationData.ts'
import type { TaskName } from '../../src/evaluate/tasks.ts'
import { close, json, lowbit, printed, stories, temporaryFolder, text } from './lowbit.ts'

/*
 * Data sets from files: what must be computed was computed by lm-eval (test/golden/tasks.json); parquet was
 * written by pyarrow (scripts/make-parquet-fixtures.py).
 */

const root = temporaryFolder()
const parquet = (name: string) => fileURLToPath(new URL(`../golden/parquet/${name}.parquet`, import.meta.url))
const golden: Record<TaskName, { items: object[]; figures: { acc: number; acc_norm?: number } }> = JSON.parse(
  readFileSync(new URL('../golden/tasks.json', import.meta.url), 'utf8'),
)

function written(name: string, content: string | Uint8Array): string {
  const path = join(root, name)
  writeFileSync(path, content)
  return path
}

const jsonLines = (items: readonly object[]) => items.map((item) => `${JSON.stringify(item)}\n`).join('')

test('questions from JSON lines, packed ones, a list, and parquet of two compressions: the figures of lm-eval', async () => {
  const { lambada, hellaswag, arc, piqa, winogrande } = golden
  const { tasks } = await json(
    'evaluate',
    stories,
    ...['--lambada', written('lambada.jsonl', jsonLines(lambada.items))],
    ...['--hellaswag', written('hellaswag.json', JSON.stringify(hellaswag.items))],
    ...['--arc', parquet('arc-zstd'), '--piqa', parquet('piqa-snappy')],
    ...['--winogrande', written('winogrande.json.gz', gzipSync(jsonLines(winogrande.items)))],
  )
  const all = { lambada, hellaswag, arc, piqa, winogrande }
  assert.deepEqual(
    tasks.map(({ task }: { task: string }) => task),
    Object.keys(all),
  )
  for (const [i, { items, figures }] of Object.values(all).entries()) {
    const { accuracy, accuracyInterval, accuracyPerCharacter } = tasks[i]
    assert.deepEqual(
      [tasks[i].items, accuracy, accuracyPerCharacter],
      [items.length, figures.acc, figures.acc_norm],
    )
    // Where a share of the interval lies 1.96 of its own standard errors from what was seen: Wilson's interval.
    for (const bound of accuracyInterval)
      close(Math.abs(bound - accuracy), 1.96 * Math.sqrt((bound * (1 - bound)) / items.length), 1e-9)
  }
})

test('--limit asks the first; the lines say the accuracy and its interval', async () => {
  const { stdout } = await printed('evaluate', stories, '--piqa', parquet('piqa-snappy'), '--limit', '3')
  assert.match(
    stdout,
    /^piqa +\d+\.\d\d % {2}\(95 %: [\d.]+ % to [\d.]+ %; 3 questions, .+ per character, float32\)\n$/,
  )
})

test('a text from parquet, from the cache of the hub and from a folder is that of the file', async () => {
  const window = ['--context', '128', '--definition', 'transformers']
  const expected = await json('evaluate', stories, '--text', text, ...window)
  assert.deepEqual(await json('evaluate', stories, '--text', parquet('text-gzip'), ...window), expected)
  // As huggingface_hub lays it out.
  const folder = join(root, 'hub/datasets--Salesforce--wikitext')
  const commit = 'b08601e04326c79dfdd32d625aee71d232d685c3'
  mkdirSync(join(folder, 'refs'), { recursive: true })
  writeFileSync(join(folder, 'refs/main'), commit)
  const files = join(folder, 'snapshots', commit, 'wikitext-2-raw-v1')
  mkdirSync(files, { recursive: true })
  symlinkSync(parquet('text-gzip'), join(files, 'test-00000-of-00001.parquet'))
  assert.deepEqual(await json('evaluate', stories, '--text', files, ...window), expected)
  process.env.HF_HUB_CACHE = join(root, 'hub')
  process.env.HF_HUB_OFFLINE = '1'
  assert.deepEqual(await json('evaluate', stories, '--text', 'wikitext2', ...window), expected)
  const { code, stderr } = await lowbit('evaluate', stories, '--text', 'c4')
  assert.deepEqual([code, stderr.split('\n').length], [1, 2])
  assert.match(
    stderr,
    /^lowbit: allenai\/c4: its en\/c4-validation\.00000-of-00008\.json\.gz must be in the hub's cache, .+datasets--allenai--c4, or to be downloaded; it is not there, and HF_HUB_OFFLINE is 1\n$/,
  )
})

const good = '{"text": "The dog ran"}\n'
for (const [name, content, says] of [
  ['empty.jsonl', '', /empty\.jsonl: must hold items, one JSON object a line; it is empty/],
  ['list.json', '[]', /list\.json: must hold items, one JSON object a line; it is empty/],
  ['field.jsonl', `${good}\n{"txt": "a"}\n`, /field\.jsonl: line 3: text must be a string; received nothing/],
  ['cut.jsonl', `${good}{"text": "a b`, /cut\.jsonl: line 2: must be JSON; /],
  ['plain.jsonl', 'The dog ran\n', /plain\.jsonl: line 1: must be JSON; /],
  [
    'word.jsonl',
    `${good}{"text": "a"}`,
    /word\.jsonl: line 2: text must have a last word after others; received "a"/,
  ],
  ['numbers.json', '[1]', /numbers\.json: item 1: the document must be an object; received 1/],
  ['gz.jsonl', Uint8Array.of(0x1f, 0x8b, 8, 0), /gz\.jsonl: must be gzip that can be unpacked; /],
  [
    'cut.parquet',
    readFileSync(parquet('piqa-snappy')).subarray(0, 700),
    /cut\.parquet: must be a parquet file that can be read; /,
  ],
  [
    'rows.parquet',
    readFileSync(parquet('piqa-snappy')),
    /rows\.parquet: row 1: text must be a string; received nothing/,
  ],
] as const)
  test(`${name} is refused in one sentence, by its line`, async () => {
    await assert.rejects(readQuestions('lambada', written(name, content)), {
      name: 'FormatError',
      message: says,
    })
  })

test('nothing to measure on, and a baseline without a text, are refused', async () => {
  assert.match(
    (await lowbit('evaluate', stories)).stderr,
    /^lowbit: evaluate: there must be something to measure on: --text or --lambada/,
  )
  const alone = await lowbit('evaluate', stories, '--piqa', parquet('piqa-snappy'), '--baseline', stories)
  assert.match(
    alone.stderr,
    /^lowbit: evaluate: --baseline compares token by token on a text, --text; received questions alone/,
  )
})
