import { FormatError } from '../core/errors.ts'
import { isHubId } from '../formats/hub.node.ts'
import { uploadFolder } from '../formats/hubUpload.node.ts'
import { planCausalLM } from '../models/load.ts'
import { modelCard } from '../models/modelCard.ts'
import { interrupted } from './interrupt.ts'
import { printJson, progressBar } from './output.ts'

export interface PushCommandOptions {
  private?: boolean
  baseModel?: string
  json?: boolean
}

/** `lowbit push`: puts a folder onto the hub, with a model card where it has none. */
export async function pushCommand(folder: string, id: string, options: PushCommandOptions): Promise<void> {
  const { baseModel, private: isPrivate } = options
  if (baseModel !== undefined && !isHubId(baseModel))
    throw new FormatError(`push: --base-model must be a model of the hub, as org/name; received ${baseModel}`)
  const plan = await planCausalLM(folder)
  const known = String(plan.model.checkpoint?.config._name_or_path ?? '')
  const card = { id, baseModel: baseModel ?? (isHubId(known) ? known : null) }
  const texts = { 'README.md': modelCard(plan, card) }
  await plan.close()
  const bar = await progressBar('push', options)
  const onProgress = (_: string, share: number) => bar.update(Math.round(1000 * share), 1000)
  const address = await uploadFolder(folder, id, {
    private: isPrivate,
    texts,
    signal: interrupted,
    onProgress,
  }).finally(bar.stop)
  if (options.json) return printJson({ url: address })
  process.stdout.write(`pushed to ${address}\n`)
}
