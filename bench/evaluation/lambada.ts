import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { evaluateTask } from '../../src/index.ts'
import { measuredLines } from './lines.ts'
import { cache, loadFloats, type Row, type Run, texts, theirLines } from './run.ts'

/** Two answers may differ where the likeliest tokens lie so close, in nats. */
const nearTie = 1e-3

interface Theirs {
  logLikelihood: number
  margin: number
}

interface Ours {
  logLikelihood: number
  right: boolean
}

/** How many last words of Lambada's first passages SmolLM2 writes in float32, by lowbit and by transformers. */
export async function lambadaRows(run: Run): Promise<Row[]> {
  const lines = readFileSync(texts.lambada, 'utf8').trim().split('\n').slice(0, run.passages)
  const items: object[] = lines.map((line) => JSON.parse(line))
  const theirs = await theirLines<Theirs>('lambada', 'lambada', texts.lambada, items.length)
  const model = await loadFloats(run.device)
  const ours = await measuredLines<Ours>(
    join(cache, 'evaluation/lowbit-lambada.jsonl'),
    items.length,
    run.resume,
    async (i) => {
      const { accuracy, perplexity } = await evaluateTask(model, 'lambada', [items[i]])
      return { right: accuracy === 1, logLikelihood: -Math.log(Number(perplexity)) }
    },
  )
  model.dispose()
  const row = (who: string, right: number, logs: readonly { logLikelihood: number }[]): Row => ({
    '': who,
    passages: String(items.length),
    'last words written': String(right),
    accuracy: `${((100 * right) / items.length).toFixed(1)} %`,
    'perplexity of the last words': Math.exp(
      -logs.reduce((sum, { logLikelihood }) => sum + logLikelihood, 0) / logs.length,
    ).toFixed(4),
  })
  const differ = ours.filter(({ right }, i) => right !== theirs[i].margin > 0).length
  const ties = theirs.filter(({ margin }) => Math.abs(margin) < nearTie).length
  return [
    {
      ...row('transformers', theirs.filter(({ margin }) => margin > 0).length, theirs),
      'near ties': String(ties),
      'answered otherwise': '',
    },
    {
      ...row('lowbit', ours.filter(({ right }) => right).length, ours),
      'near ties': '',
      'answered otherwise': String(differ),
    },
  ]
}
