import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** The path of SmolLM2-135M-Instruct.Q4_1.gguf, fetched into the cache where it is not there yet. */
export function fetchModel(): string {
  const script = fileURLToPath(new URL('../../scripts/fetch-smollm2.mjs', import.meta.url))
  return execFileSync(process.execPath, [script], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  }).trim()
}
