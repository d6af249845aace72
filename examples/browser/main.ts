// Quantizes the embedded model, then runs whatever GGUF file is dropped on the page: the same calls as in Node.
import { type CausalLM, freeze, generate, loadCausalLM, memoryFootprint, quantize } from 'lowbit'

const at = <E extends HTMLElement = HTMLElement>(id: string) => document.getElementById(id) as E
const [error, status, drop, answer] = ['error', 'status', 'drop', 'answer'].map((id) => at(id))
const [run, stop] = [at<HTMLButtonElement>('run'), at<HTMLButtonElement>('stop')]
const file = at<HTMLInputElement>('file')
const prompt = at<HTMLTextAreaElement>('prompt')
prompt.value = 'Once upon a time, there was a little girl named Lily.'

let own: CausalLM | undefined
let abort = new AbortController()

async function tellStory(): Promise<void> {
  at('start').textContent = prompt.value
  const model = await loadCausalLM('models/stories260K')
  const before = memoryFootprint(model)
  quantize(model, { weights: 'int4' })
  freeze(model)
  const after = memoryFootprint(model)
  const story = await generate(model, prompt.value, { maxNewTokens: 40, onText: (text) => at('story').append(text) })
  const rows = {
    'weights as float32': kilobytes(before),
    'linear layers as int4': kilobytes(after),
    'tokens per second': Math.round(story.decodeTokensPerSecond).toLocaleString('en'),
    device: model.device.name,
    threads: model.device.threads,
    'cross-origin isolated': crossOriginIsolated ? 'yes' : 'no',
  }
  for (const [name, value] of Object.entries(rows)) {
    const row = at<HTMLTableElement>('report').insertRow()
    row.append(Object.assign(document.createElement('th'), { textContent: name }))
    row.insertCell().textContent = String(value)
  }
  model.dispose()
}

async function openFile(picked: File): Promise<void> {
  const showProgress = (bytes: number, total: number) => {
    status.textContent = `Loading ${picked.name}: ${Math.floor((100 * bytes) / total)} %`
  }
  own?.dispose()
  own = undefined
  try {
    own = await loadCausalLM(picked, { onProgress: showProgress })
    status.textContent = `${picked.name}: ${kilobytes(memoryFootprint(own))} of weights`
  } catch (failure) {
    status.textContent = 'Drop a .gguf file here, or choose one.'
    throw failure
  }
}

async function answerPrompt(): Promise<void> {
  if (!own) return
  abort = new AbortController()
  answer.textContent = ''
  stop.disabled = false
  try {
    const options = { maxNewTokens: 100, signal: abort.signal, onText: (text: string) => answer.append(text) }
    const { decodeTokensPerSecond } = await generate(own, prompt.value, options)
    status.textContent = `${Math.round(decodeTokensPerSecond)} tokens per second on ${own.device.threads} thread(s)`
  } catch (failure) {
    if (!abort.signal.aborted) throw failure
  } finally {
    stop.disabled = true
  }
}

/** Runs one action at a time, and shows in a sentence what went wrong. */
async function act(action: () => Promise<void>): Promise<void> {
  error.hidden = true
  run.disabled = file.disabled = true
  try {
    await action()
  } catch (failure) {
    error.textContent = failure instanceof Error ? failure.message : String(failure)
    error.hidden = false
  } finally {
    file.disabled = false
    run.disabled = own === undefined
  }
}

function kilobytes(bytes: number): string {
  return `${Math.round(bytes / 1000).toLocaleString('en')} kB`
}

file.onchange = () => {
  const picked = file.files?.[0]
  if (picked) act(() => openFile(picked))
}
at('form').onsubmit = (event) => {
  event.preventDefault()
  act(answerPrompt)
}
stop.onclick = () => abort.abort()
for (const type of ['dragover', 'dragleave', 'drop'] as const) {
  drop.addEventListener(type, (event) => {
    event.preventDefault()
    drop.classList.toggle('over', type === 'dragover')
    const picked = type === 'drop' && event.dataTransfer?.files[0]
    if (picked && !file.disabled) act(() => openFile(picked))
  })
}
act(tellStory)
