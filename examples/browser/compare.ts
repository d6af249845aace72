// The first part of the page: the small model as it was and quantized, measured side by side.
import {
  bench,
  type CausalLM,
  freeze,
  generate,
  loadCausalLM,
  memoryFootprint,
  perplexity,
  quantize,
  weightErrors,
} from 'lowbit'
import { at, showError, size, whole } from './page.ts'
import { addRow, Card, type Measured, showErrors, summarize } from './report.ts'
import { storiesFolder, storiesText } from './stories.ts'

type Weights = 'float8' | 'int8' | 'int4' | 'int2'
const types: Weights[] = ['float8', 'int8', 'int4', 'int2']

interface Settings {
  weights: Weights
  exclude: string[]
  start: string
}

const form = at<HTMLFormElement>('settings')
const [floatCard, quantizedCard] = [new Card('float'), new Card('quantized')]

/** The float model, and what was measured of it with the beginning that its story has. */
let float: CausalLM | undefined
let before: (Measured & { start: string }) | undefined
let text: string | undefined
/** The comparison that goes on, and how to end it. */
let running: Promise<void> = Promise.resolve()
let abort = new AbortController()

/** Compares by each of the settings, one after the other; what was still being compared is given up. */
function compareAll(list: Settings[]): void {
  abort.abort()
  abort = new AbortController()
  const { signal } = abort
  running = running.then(async () => {
    showError('compare-error')
    for (const settings of list) {
      if (signal.aborted) return
      await compare(settings, signal).catch((failure) => {
        if (signal.aborted) return
        quantizedCard.clear(settings.weights, settings.start, '–')
        showError('compare-error', failure)
      })
    }
  })
}

async function compare({ weights, exclude, start }: Settings, signal: AbortSignal): Promise<void> {
  at('summary').textContent = ''
  float ??= await loadCausalLM(storiesFolder())
  text ??= await storiesText()
  const { name, threads } = float.device
  const alone = crossOriginIsolated ? '' : ', since it is not cross-origin isolated'
  at('device').textContent =
    `This page computes on ${name}, with ${threads === 1 ? `one thread${alone}` : `${threads} threads`}.`
  quantizedCard.clear(weights, start)
  if (before?.start !== start) {
    floatCard.clear('float32', start)
    before = { start, ...(await measure(float, floatCard, start, signal)) }
    addRow('float32', 'all', before)
  }
  const model = await loadCausalLM(storiesFolder(), { signal })
  try {
    quantize(model, { weights, exclude, computeDtype: 'float32' })
    const matrices = [...model.namedModules()]
      .map(([path]) => path)
      .filter((path) => /_proj$|_head$/.test(path))
    showErrors(matrices, await weightErrors(model, { signal }))
    freeze(model)
    const after = await measure(model, quantizedCard, start, signal, { model: float, story: before.story })
    summarize(weights, before, after)
    addRow(weights, exclude.map(labelOf).join(', ') || 'nothing', after)
  } finally {
    model.dispose()
  }
}

/** Writes a story and measures, and shows each result in the card as it comes. */
async function measure(
  model: CausalLM,
  card: Card,
  start: string,
  signal: AbortSignal,
  baseline?: { model: CausalLM; story: string },
): Promise<Measured> {
  const bytes = memoryFootprint(model)
  card.show('memory', size(bytes))
  let story = ''
  const onText = (more: string) => {
    story += more
    card.tell(story, baseline?.story)
  }
  await generate(model, start, { maxNewTokens: 60, signal, onText })
  const measured = await perplexity(model, text ?? '', { context: 128, baseline: baseline?.model, signal })
  card.show('perplexity', measured.perplexity.toFixed(3))
  const { decodeTokensPerSecond: tokensPerSecond } = await bench(model, {
    promptTokens: 16,
    newTokens: 128,
    runs: 5,
    signal,
  })
  card.show('speed', whole(tokensPerSecond))
  return { ...measured, story, bytes, tokensPerSecond }
}

/** What the form calls a pattern of modules. */
function labelOf(exclude: string): string {
  return form.querySelector(`[value="${exclude}"] + span`)?.textContent ?? exclude
}

function chosen(): Settings {
  const data = new FormData(form)
  return {
    weights: data.get('weights') as Weights,
    exclude: data.getAll('exclude').map(String),
    start: String(data.get('start')),
  }
}

/** Compares what is chosen, and again whenever that changes. */
export function startComparing(): void {
  form.onchange = () => compareAll([chosen()])
  form.onsubmit = (event) => event.preventDefault()
  at('all').onclick = () => {
    const last = chosen()
    const others = types
      .filter((weights) => weights !== last.weights)
      .map((weights) => ({ ...last, weights }))
    compareAll([...others, last])
  }
  compareAll([chosen()])
}
