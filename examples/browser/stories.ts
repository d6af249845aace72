// The small model that comes with the page, and the text that perplexity is measured on.
import { type Folder, httpFolder } from 'lowbit'

/** The list spares requests for files that other models have, and this one has not. */
export function storiesFolder(): Folder {
  const files = [
    'config.json',
    'generation_config.json',
    'model.safetensors',
    'tokenizer.json',
    'tokenizer_config.json',
  ]
  return httpFolder('models/stories260K', { files })
}

/** @throws Error if the server does not have it */
export async function storiesText(): Promise<string> {
  const response = await fetch('models/tinystories.txt')
  if (!response.ok)
    throw new Error(`models/tinystories.txt: must be on the server; it answers ${response.status}`)
  return response.text()
}
