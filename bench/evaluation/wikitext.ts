import {
  context,
  loadFloats,
  ourWindows,
  perplexityOf,
  type Row,
  type Run,
  texts,
  theirLines,
  type Window,
  wikitextTokens,
} from './run.ts'

/** SmolLM2's perplexity on WikiText-2's test split in float32, by lowbit and by transformers. */
export async function wikitextRows(run: Run): Promise<Row[]> {
  const model = await loadFloats(run.device)
  const ids = await wikitextTokens(model)
  const count = Math.min(run.windows, Math.ceil(ids.length / context))
  const theirs = await theirLines<Window>('perplexity', 'wikitext', texts.wikitext, count)
  const ours = await ourWindows(run, 'wikitext', model, ids, count)
  model.dispose()
  const whole = Math.floor(ids.length / context)
  const rows: [string, number][] = [
    [`the first ${Math.min(count, 16)} windows`, Math.min(count, 16)],
    ['all whole windows', whole],
    ['all of it', whole + 1],
  ]
  return rows
    .filter(([, windows]) => windows <= count)
    .map(([text, windows]) => row(text, theirs.slice(0, windows), ours.slice(0, windows)))
}

function row(text: string, theirs: readonly Window[], ours: readonly Window[]): Row {
  const [a, b] = [perplexityOf(theirs), perplexityOf(ours)]
  const apart = ours.map(({ nll }, i) => Math.abs(nll / theirs[i].nll - 1))
  return {
    text,
    'tokens scored': b.tokens.toLocaleString('en'),
    transformers: a.perplexity.toFixed(5),
    lowbit: b.perplexity.toFixed(5),
    apart: relative(b.perplexity / a.perplexity - 1),
    'apart in one window, at most': relative(Math.max(...apart)),
  }
}

/** A relative difference, with one digit. */
function relative(difference: number): string {
  return Math.abs(difference).toExponential(0)
}
