import type { CacheType } from '../../src/index.ts'
import {
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

/** Tokens of the cache whose bytes are compared. */
const held = 8192

/**
 * SmolLM2's perplexity where keys and values of earlier tokens come from a cache. lowbit's queries see the last
 * 128 tokens in full however a text is cut into calls, so that a window is one call; transformers' cache is
 * given chunks of 64.
 */
export async function cacheRows(run: Run): Promise<Row[]> {
  const model = await loadFloats(run.device)
  const ids = await wikitextTokens(model)
  const count = run.cacheWindows
  const bytes = (kv: CacheType) => {
    const cache = model.createCache(held, { kv })
    const sum = cache.bytes
    cache.dispose()
    return sum
  }
  const rows: Row[] = []
  const ours = async (kv: CacheType) => ourWindows(run, `cache-${kv}`, model, ids, count, { kv })
  const float16 = await ours('float16')
  const add = (who: string, windows: readonly Window[], base: readonly Window[], memory: string) =>
    rows.push(row(who, windows, base, memory))
  const full = bytes('float16')
  for (const kv of ['float16', 'float8', 'int8', 'int4'] as const) {
    const share = bytes(kv) / full
    add(`lowbit, ${kv}`, await ours(kv), float16, `${(100 * share).toFixed(1)} %`)
  }
  model.dispose()
  const some = Math.min(run.peerWindows, count)
  const floats = await theirLines<Window>('perplexity', 'wikitext', texts.wikitext, some)
  for (const keys of ['token', 'channel']) {
    const windows = await theirLines<Window>('cache', `cache-${keys}`, texts.wikitext, some, keys)
    add(`transformers, quanto 4 bits, keys by ${keys}`, windows, floats, '')
  }
  return rows
}

/** Beside the same program's floats: the change of perplexity, with the standard error over windows. */
function row(who: string, windows: readonly Window[], base: readonly Window[], memory: string): Row {
  const changes = windows.map(({ nll, tokens }, i) => (nll - base[i].nll) / (tokens - 1))
  const mean = changes.reduce((sum, change) => sum + change, 0) / changes.length
  const squares = changes.reduce((sum, change) => sum + (change - mean) ** 2, 0)
  const error = Math.sqrt(squares / (changes.length - 1) / changes.length)
  const several = changes.length > 1 ? ` ± ${(100 * error).toFixed(2)} %` : ''
  const same = windows.every(({ nll }, i) => nll === base[i].nll)
  return {
    cache: who,
    windows: String(windows.length),
    perplexity: perplexityOf(windows).perplexity.toFixed(4),
    'beside floats': same ? '' : `${percent(Math.expm1(mean))}${several}`,
    'in the first window': same ? '' : percent(Math.expm1(changes[0])),
    [`memory of ${held} tokens`]: memory,
  }
}

function percent(share: number): string {
  return `${share < 0 ? '−' : '+'}${Math.abs(100 * share).toFixed(2)} %`
}
