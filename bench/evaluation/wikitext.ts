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
  const whole = Math.min(count, Math.floor(ids.length / context))
  const rows: [string, number][] = [
    ['the first 16 windows', Math.min(16, count)],
    [`${count < run.windows && whole < count ? 'all' : 'the first'} ${whole} whole windows`, whole],
    ['all of it, as transformers has it', count],
  ]
  return rows
    .filter(([, windows], i) => rows.findIndex(([, other]) => other === windows) === i)
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
export function relative(difference: number): string {
  return Math.abs(difference) < 1e-12 ? '0' : Math.abs(difference).toExponential(0).replace('e-', ' · 10^-')
}
