// The third part of the page: whatever GGUF file is dropped on it, or the small model, continues a prompt.
import { type CausalLM, generate, loadCausalLM, memoryFootprint, setComputeDtype } from 'lowbit'
import { at, showError, size, whole } from './page.ts'
import { storiesFolder } from './stories.ts'

const [status, speed, drop, answer] = ['status', 'speed', 'drop', 'answer'].map((id) => at(id))
const [run, stop, small] = ['run', 'stop', 'small'].map((id) => at<HTMLButtonElement>(id))
const file = at<HTMLInputElement>('file')
const progress = at<HTMLProgressElement>('progress')
const invitation = status.textContent ?? ''

let own: CausalLM | undefined
let abort = new AbortController()

async function open(
  name: string,
  load: (onProgress: (bytes: number, total: number) => void) => Promise<CausalLM>,
): Promise<void> {
  own?.dispose()
  own = undefined
  answer.textContent = speed.textContent = ''
  status.textContent = `Loading ${name} …`
  progress.hidden = false
  try {
    own = await load((bytes, total) => {
      progress.value = bytes / total
    })
    // Only models that were trained to chat have a template that says how.
    const chats = await own.tokenizer?.applyChatTemplate([{ role: 'user', content: 'Hello' }]).then(
      () => true,
      () => false,
    )
    at('chat-label').hidden = !chats
    status.textContent = `${name}: ${size(memoryFootprint(own))} of weights`
  } catch (failure) {
    status.textContent = invitation
    throw failure
  } finally {
    progress.hidden = true
    progress.removeAttribute('value')
  }
}

const openFile = (picked: File) => open(picked.name, (onProgress) => loadCausalLM(picked, { onProgress }))

const openSmall = () => {
  const quantization = { method: 'quanto', weights: 'int8' } as const
  return open('stories260K in int8', (onProgress) =>
    loadCausalLM(storiesFolder(), { quantization, onProgress }),
  )
}

async function answerPrompt(): Promise<void> {
  if (!own) return
  abort = new AbortController()
  answer.textContent = speed.textContent = ''
  stop.disabled = false
  setComputeDtype(own, at<HTMLSelectElement>('compute').value === 'int8' ? 'int8' : 'float32')
  const prompt = at<HTMLTextAreaElement>('prompt').value
  const options = { signal: abort.signal, onText: (text: string) => answer.append(text) }
  try {
    const { tokenIds, decodeTokensPerSecond } = await generate(own, await encoded(own, prompt), options)
    speed.textContent = `${tokenIds.length} tokens, ${whole(decodeTokensPerSecond)} per second`
  } catch (failure) {
    if (!abort.signal.aborted) throw failure
    speed.textContent = 'Stopped.'
  } finally {
    stop.disabled = true
  }
}

/** The prompt as it stands, or as a message of a chat. */
async function encoded({ tokenizer }: CausalLM, prompt: string): Promise<string | number[]> {
  if (!tokenizer || at('chat-label').hidden || !at<HTMLInputElement>('chat').checked) return prompt
  return tokenizer.encodeChat([{ role: 'user', content: prompt }])
}

/** Does one thing at a time, and shows in a sentence what went wrong. */
async function act(action: () => Promise<void>): Promise<void> {
  showError('error')
  run.disabled = file.disabled = small.disabled = true
  try {
    await action()
  } catch (failure) {
    showError('error', failure)
  } finally {
    file.disabled = small.disabled = false
    run.disabled = own === undefined
  }
}

/** Waits for a file. */
export function startChatting(): void {
  file.onchange = () => {
    const picked = file.files?.[0]
    if (picked) act(() => openFile(picked))
  }
  // The whole page takes it: a browser would go to a file that is dropped beside the frame.
  for (const type of ['dragover', 'dragleave', 'drop'] as const) {
    document.addEventListener(type, (event) => {
      event.preventDefault()
      drop.classList.toggle('over', type === 'dragover')
      const picked = type === 'drop' && event.dataTransfer?.files[0]
      if (picked && !file.disabled) act(() => openFile(picked))
    })
  }
  small.onclick = () => act(openSmall)
  at('form').onsubmit = (event) => {
    event.preventDefault()
    act(answerPrompt)
  }
  stop.onclick = () => abort.abort()
}
