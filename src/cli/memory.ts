import { parseJson } from '../formats/json.ts'
import type { MemoryOptions, RequiredMemory } from '../models/requiredMemory.ts'
import { requiredMemory } from '../models/requiredMemory.ts'
import { readTextFile } from './input.ts'
import { type CommonOptions, planModel } from './model.ts'
import { formatBytes, formatCount, printJson, printTable } from './output.ts'

/** `lowbit inspect` of a config.json, or with `--weights`, `--kv` or `--context`: what a model would need. */
export async function memoryCommand(
  path: string,
  options: CommonOptions & Omit<MemoryOptions, 'batch'>,
): Promise<void> {
  const { weights, kv, context, dtype } = options
  const needed = requiredMemory(await configOf(path, options), { weights, kv, context, dtype })
  if (options.json) return printJson(needed)
  await printMemory(needed, weights === undefined ? 'floats' : String(weights))
}

async function printMemory({ parameters, weights, cache, context, kv }: RequiredMemory, types: string) {
  const row = (what: string, bytes: number, note: string) => [what, ...formatBytes(bytes).split(' '), note]
  await printTable(
    [{ head: '' }, { head: '', numeric: true }, { head: '' }, { head: '' }],
    [
      row('weights', weights, `${formatCount(parameters)} in ${types}`),
      row('cache', cache, `keys and values of ${formatCount(context)} tokens in ${kv}`),
      row('together', weights + cache, 'and what passes while a prompt is read'),
    ],
  )
}

/** What the config.json of a model says. */
async function configOf(path: string, options: CommonOptions): Promise<object> {
  if (path.endsWith('.json'))
    return parseJson(new TextEncoder().encode(await readTextFile(path)), path) as object
  const plan = await planModel(path, options)
  try {
    return plan.model.savedConfig()
  } finally {
    await plan.close()
  }
}
