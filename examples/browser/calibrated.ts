// The second part of the page: the small model quantized by a text that it reads, measured on another one, and
// offered as files.
import {
  type CalibratedAlgorithm,
  type CalibratedProgress,
  convert,
  distilScales,
  gptq,
  loadCausalLM,
  memoryFolder,
  memoryFootprint,
  perplexity,
  quantizeCalibrated,
  save,
} from 'lowbit'
import { at, showError, size } from './page.ts'
import { storiesFolder, storiesText } from './stories.ts'

type How = 'rounded' | 'GPTQ' | 'GPTQ, trained'

const form = at<HTMLFormElement>('calibrated')
const source = at<HTMLTextAreaElement>('source')
const [status, files] = ['calibrated-status', 'files'].map((id) => at(id))
const [start, stop] = ['quantize', 'abort'].map((id) => at<HTMLButtonElement>(id))
const progress = at<HTMLProgressElement>('calibrated-progress')
let abort = new AbortController()
let urls: string[] = []

/** Groups of 32 weights share a scale and a zero point, however their codes are chosen. */
function algorithms(how: How, bits: number): CalibratedAlgorithm[] {
  const solved = gptq({ bits, groupSize: 32, symmetric: false, actOrder: 'static', scaleSearch: true })
  if (how === 'rounded') return [{ name: 'rounded', options: solved.options }]
  return how === 'GPTQ' ? [solved] : [solved, distilScales({ rounding: true, steps: 100 })]
}

/** What the model reads unless the reader has another text, and what it is measured on. */
async function parts(): Promise<{ read: string; measured: string }> {
  const whole = await storiesText()
  // It begins in the middle of a story.
  const text = whole.slice(whole.indexOf('\n\n')).trim()
  const cut = text.indexOf('\n', (text.length * 2) / 3)
  return { read: text.slice(0, cut), measured: text.slice(cut + 1) }
}

/** Quantizes the model, measures it, and offers its files; ends early when `signal` says so. */
async function run(how: How, bits: number, signal: AbortSignal): Promise<void> {
  const { measured } = await parts()
  const model = await loadCausalLM(storiesFolder(), { signal })
  try {
    const measure = async () => (await perplexity(model, measured, { context: 128, signal })).perplexity
    if (!rowOf('float32')) addRow('float32', '32', memoryFootprint(model), await measure())
    const began = performance.now()
    await quantizeCalibrated(model, {
      algorithm: algorithms(how, bits),
      data: [source.value],
      samples: 32,
      length: 128,
      exclude: 'lm_head',
      signal,
      onProgress: tell,
      onWarning: () => {},
    })
    const seconds = ((performance.now() - began) / 1000).toFixed(1)
    progress.removeAttribute('value')
    addRow(how, String(bits), memoryFootprint(model), await measure())
    const folder = new Map<string, Uint8Array<ArrayBuffer>>()
    const warnings: string[] = []
    await save(model, memoryFolder(folder), { signal, onWarning: (message) => warnings.push(message) })
    await offer(folder, bits, signal)
    status.textContent = [`Quantized in ${seconds} s.`, ...warnings].join(' ')
  } finally {
    model.dispose()
  }
}

function tell({ done, block, blocks, secondsLeft }: CalibratedProgress): void {
  progress.value = done
  const left = Number.isFinite(secondsLeft) ? `, some ${Math.ceil(secondsLeft)} s left` : ''
  status.textContent = `Part ${block} of ${blocks}${left}`
}

/** The files of the folder, and one GGUF file of the same model, as links. */
async function offer(
  folder: Map<string, Uint8Array<ArrayBuffer>>,
  bits: number,
  signal: AbortSignal,
): Promise<void> {
  const gguf = new Map<string, Uint8Array<ArrayBuffer>>()
  // GGUF has no 2 or 3 bits for rows as short as these: what the codes stand for is kept in 8.
  const to = bits === 4 ? 'gguf:q4_1' : 'gguf:q8_0'
  await convert(memoryFolder(folder), memoryFolder(gguf), { to, signal, onWarning: () => {} })
  const named = [...gguf.values()].map((bytes): [string, Uint8Array<ArrayBuffer>] => [
    `stories260K-${bits}bit.gguf`,
    bytes,
  ])
  for (const url of urls) URL.revokeObjectURL(url)
  urls = []
  const links = [...folder, ...named].map(([name, bytes]) => {
    const href = URL.createObjectURL(new Blob([bytes]))
    urls.push(href)
    const link = Object.assign(document.createElement('a'), { href, download: name, textContent: name })
    const item = document.createElement('li')
    item.append(link, ` ${bytes.length < 1000 ? `${bytes.length} bytes` : size(bytes.length)}`)
    return item
  })
  files.replaceChildren(...links)
  at('offer').hidden = false
}

const rows = () => [...at<HTMLTableElement>('calibrated-report').tBodies[0].rows]

function rowOf(how: string, bits?: string): HTMLTableRowElement | undefined {
  return rows().find(
    ({ cells }) => cells[0].textContent === how && (bits ?? cells[1].textContent) === cells[1].textContent,
  )
}

/** A row of the table, in the place of an earlier one of the same settings. */
function addRow(how: string, bits: string, bytes: number, measured: number): void {
  const row = rowOf(how, bits) ?? at<HTMLTableElement>('calibrated-report').tBodies[0].insertRow()
  const cells = [how, bits, size(bytes), measured.toFixed(3)]
  row.replaceChildren(
    ...cells.map((textContent) => Object.assign(document.createElement('td'), { textContent })),
  )
  for (const other of rows()) other.ariaCurrent = other === row ? 'true' : null
}

async function quantize(): Promise<void> {
  const data = new FormData(form)
  abort = new AbortController()
  const { signal } = abort
  showError('calibrated-error')
  start.disabled = true
  stop.disabled = progress.hidden = false
  status.textContent = 'Loading …'
  try {
    await run(data.get('how') as How, Number(data.get('bits')), signal)
  } catch (failure) {
    status.textContent = signal.aborted ? 'Stopped. Nothing was changed.' : ''
    if (!signal.aborted) showError('calibrated-error', failure)
  } finally {
    start.disabled = false
    stop.disabled = progress.hidden = true
    progress.removeAttribute('value')
  }
}

/** Waits for the button, with a text that is ready to be read. */
export async function startCalibrating(): Promise<void> {
  form.onsubmit = (event) => {
    event.preventDefault()
    quantize()
  }
  stop.onclick = () => abort.abort()
  const { read } = await parts()
  source.value ||= read
}
