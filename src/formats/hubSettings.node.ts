import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** Where the hub is, where its files are kept, and who asks. */
export interface HubSettings {
  /** Its address, without a slash at the end. */
  readonly endpoint: string
  readonly cacheDir: string
  /** Of the user, where there is one. */
  readonly token: string | undefined
  /** Whether the network is not to be asked. */
  readonly offline: boolean
}

/**
 * The settings that Hugging Face's own tools have, from the same variables: HF_ENDPOINT, HF_HUB_CACHE,
 * HF_HOME, HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE; the token of `hf auth login` where there is no other.
 * Source: huggingface_hub 2.4, constants.py and utils/_auth.py.
 */
export async function hubSettings(environment = process.env): Promise<HubSettings> {
  const cache = environment.XDG_CACHE_HOME ?? join(homedir(), '.cache')
  const home = environment.HF_HOME ?? join(cache, 'huggingface')
  const tokenPath = environment.HF_TOKEN_PATH ?? join(home, 'token')
  const token =
    environment.HF_TOKEN ??
    environment.HUGGING_FACE_HUB_TOKEN ??
    (await readFile(tokenPath, 'utf8').catch(() => ''))
  return {
    endpoint: (environment.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, ''),
    cacheDir: environment.HF_HUB_CACHE ?? environment.HUGGINGFACE_HUB_CACHE ?? join(home, 'hub'),
    token: token.trim() || undefined,
    offline: /^(1|on|yes|true)$/i.test(environment.HF_HUB_OFFLINE ?? environment.TRANSFORMERS_OFFLINE ?? ''),
  }
}
