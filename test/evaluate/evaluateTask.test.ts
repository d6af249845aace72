import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openDevice } from '../../src/devices/open.ts'
import { likelihoods, tokensOf } from '../../src/evaluate/continuations.ts'
import { evaluateTask } from '../../src/evaluate/evaluateTask.ts'
import { type TaskName, tasks } from '../../src/evaluate/tasks.ts'
import { JsonObject } from '../../src/formats/json.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { computeIn } from '../../src/nn/computeDtype.ts'
import { deviceNames } from '../deviceNames.ts'

/* Questions as lm-eval 0.4.13 asks them, and how likely it finds every answer (scripts/make-task-fixtures.py). */

interface Golden {
  items: object[]
  figures: { acc: number; acc_norm?: number; perplexity?: number }
  answers: number[][]
  /** Whether each last word of lambada is what greedy generation writes. */
  greedy?: boolean[]
}
const golden: Record<TaskName, Golden> = JSON.parse(
  readFileSync(new URL('../golden/tasks.json', import.meta.url), 'utf8'),
)
const place = fileURLToPath(new URL('../../models/stories260K', import.meta.url))

for (const name of deviceNames)
  describe(`questions on ${name}`, async () => {
    const device = openDevice(name, { threads: 2 })
    const model = await loadCausalLM(place, { device })
    after(async () => {
      model.dispose()
      assert.equal(device.allocatedBytes, 0)
      await device.close()
    })
    const compute = computeIn(model, { usual: 'float32' })

    for (const [task, { items, figures, answers, greedy: words }] of Object.entries(golden) as [
      TaskName,
      Golden,
    ][]) {
      test(`${task}: the likelihood of every answer, and which are right`, async () => {
        for (const [i, item] of items.entries()) {
          const question = tasks[task].question(new JsonObject(item, 'item'))
          assert.equal(question.answers.length, answers[i].length)
          for (const [j, answer] of question.answers.entries()) {
            const { context, continuation } = tokensOf(model, answer)
            using cache = model.createCache(context.length + continuation.length)
            const [{ logLikelihood, greedy }] = await likelihoods(model, compute, cache, context, [
              continuation,
            ])
            const expected = answers[i][j]
            assert.ok(
              Math.abs(logLikelihood - expected) <= 1e-4 * Math.max(1, Math.abs(expected)),
              `answer ${j} of item ${i}: ${logLikelihood}, lm-eval ${expected}`,
            )
            if (words) assert.equal(greedy, words[i])
          }
        }
        const seen: number[] = []
        const result = await evaluateTask(model, task, items, { onProgress: (done) => void seen.push(done) })
        assert.equal(result.accuracy, figures.acc)
        assert.equal(result.accuracyPerCharacter, figures.acc_norm)
        const share = figures.acc
        const error = Math.sqrt((share * (1 - share)) / (items.length - 1))
        assert.ok(Math.abs(result.accuracyError - error) < 1e-12, 'of a sample of zeros and ones')
        if (figures.perplexity !== undefined)
          assert.ok(Math.abs(Number(result.perplexity) / figures.perplexity - 1) < 1e-4)
        assert.deepEqual(
          seen,
          Array.from({ length: items.length }, (_, i) => i + 1),
        )
      })
    }

    test('a long context loses its beginning, as much as the model cannot read', async () => {
      const context = 'Once upon a time there was a girl. '.repeat(60)
      const tokens = tokensOf(model, { context, continuation: 'She was happy.' })
      assert.equal(tokens.context.length + tokens.continuation.length, model.config.maxPositions + 1)
      const result = await evaluateTask(model, 'lambada', [{ text: `${context}girl` }])
      assert.equal(result.items, 1)
    })
  })

test('items that are not in the format are named, before any is asked', async () => {
  const device = openDevice(deviceNames[0], { threads: 2 })
  using model = await loadCausalLM(place, { device })
  const rejects = (task: TaskName, items: object[], message: RegExp) =>
    assert.rejects(evaluateTask(model, task, items), { message })
  await rejects('lambada', [], /there must be an item; received none/)
  await rejects('lambada', [{ text: 'one' }], /item 1 of lambada: text must have a last word after others/)
  await rejects(
    'piqa',
    [golden.piqa.items[0], { goal: 'x', sol1: 'a', sol2: 'b', label: 2 }],
    /item 2 of piqa: label must be one of 0\.\.1; received 2/,
  )
  await rejects(
    'arc',
    [{ question: 'x', choices: { text: ['a'], label: ['A'] }, answerKey: 'B' }],
    /answerKey must be one of A/,
  )
  await rejects(
    'winogrande',
    [{ sentence: 'x', option1: 'a', option2: 'b', answer: '1' }],
    /sentence must have a gap/,
  )
  await rejects('hellaswag', [[]], /item 1 of hellaswag: the document must be an object/)
})
