import { detectFolder, quantizationSettings } from '../checkpoints/detect.ts'
import { pathsByAlias, renamed } from '../checkpoints/names.ts'
import { type LoadPlan, planTensors } from '../checkpoints/plan.ts'
import { longestList, unstacked } from '../checkpoints/stacks.ts'
import { openCheckpoint } from '../formats/checkpoint.ts'
import { readJson } from '../formats/json.ts'
import type { Folder } from '../formats/source.ts'
import type { CausalLM } from './causalLM.ts'
import { emptyModel } from './families/index.ts'
import { readSideFiles } from './sideFiles.ts'

/**
 * A folder in Hugging Face layout, float or quantized: everything but the weights is read.
 * @throws FormatError if a file is missing, broken, or does not fit the others
 */
export async function planFolder(folder: Folder): Promise<LoadPlan<CausalLM>> {
  const config = await readJson(folder, 'config.json')
  const warnings: string[] = []
  const warn = (message: string) => void warnings.push(message)
  const model = emptyModel(config, warn)
  const checkpoint = await openCheckpoint(folder)
  try {
    const named = renamed(
      checkpoint,
      pathsByAlias(model, (path) => model.checkpointNames(path)),
    )
    const file = unstacked(
      named,
      (path) => model.names.stack?.(path) ?? null,
      () => longestList(model),
    )
    const settings = quantizationSettings(config)
    const tensors = await planTensors(model, file, await detectFolder(folder, settings, file), {
      described: 'config.json describes',
      isExtra: (name) => model.isKnownExtra(name),
      warn,
    })
    await readSideFiles(folder, model, config, warn)
    return { name: folder.name, model, warnings, ...tensors }
  } catch (error) {
    await checkpoint.close()
    throw error
  }
}
