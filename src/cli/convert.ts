import { isSavedFile } from '../checkpoints/checkpoint.ts'
import type { QType } from '../core/qtype.ts'
import { checkSaveTarget } from '../formats/atomicFolder.node.ts'
import { targetNamed } from '../formats/schemes/targets.ts'
import type { ConvertedTensor } from '../models/conversionPlan.ts'
import { convert } from '../models/convert.ts'
import { interrupted } from './interrupt.ts'
import { type CommonOptions, withDevice } from './model.ts'
import { formatBytes, printJson, printTable, progressBar } from './output.ts'

export interface ConvertCommandOptions extends CommonOptions {
  to: string
  weights?: QType
  groupSize?: number
  exactOnly?: boolean
  include?: string[]
  exclude?: string[]
  imatrix?: string
  out: string
  overwrite?: boolean
  verbose?: boolean
}

/** `lowbit convert`: prints what becomes of every tensor, then writes. */
export async function convertCommand(path: string, options: ConvertCommandOptions): Promise<void> {
  const { to, weights, groupSize, exactOnly, include, exclude, imatrix, out, overwrite, dtype } = options
  // Asked first: a target that cannot be written should not cost the work.
  const file = targetNamed(to).container.file ?? undefined
  await checkSaveTarget(out, { overwrite: overwrite ? isSavedFile : undefined, file })
  await withDevice(options, async (device) => {
    const bars = { plan: await progressBar('plan', options), write: await progressBar('write', options) }
    const { bytes, tensors } = await convert(path, out, {
      ...{ to, weights, groupSize, exactOnly, include, exclude, imatrix, dtype, device, overwrite },
      signal: interrupted,
      onPlan: async (planned) => {
        bars.plan.stop()
        if (!options.json) await printPlan(planned, options.verbose ?? false)
      },
      onProgress: (step, done, total) => bars[step].update(done, total),
    }).finally(() => {
      for (const bar of Object.values(bars)) bar.stop()
    })
    if (options.json) return printJson({ out, to, bytes, tensors })
    process.stdout.write(`\nwrote ${formatBytes(bytes)} to ${out}\n`)
  })
}

/** The tensors alike in one row, or each in its own. */
async function printPlan(tensors: readonly ConvertedTensor[], verbose: boolean): Promise<void> {
  const groups = new Map<string, ConvertedTensor[]>()
  for (const tensor of tensors) {
    const { path, from, to, exact, reason } = tensor
    const key = verbose ? path : JSON.stringify([from, to, exact, reason])
    groups.set(key, [...(groups.get(key) ?? []), tensor])
  }
  await printTable(
    [
      { head: verbose ? 'tensor' : 'tensors', numeric: !verbose },
      { head: 'from' },
      { head: 'to' },
      { head: 'relative error', numeric: true },
      { head: 'why' },
    ],
    [...groups.values()].map((alike) => {
      const [{ path, from, to, reason }] = alike
      return [verbose ? path : String(alike.length), from, to, errorsOf(alike), reason ?? '']
    }),
  )
}

/** `exact`, or the least and the largest error of tensors that are alike. */
function errorsOf(tensors: readonly ConvertedTensor[]): string {
  if (tensors.every(({ exact }) => exact)) return 'exact'
  const errors = tensors.flatMap(({ error }) => error ?? [])
  if (errors.length === 0) return 'rounded'
  const [least, largest] = [Math.min(...errors).toFixed(4), Math.max(...errors).toFixed(4)]
  return least === largest ? least : `${least} – ${largest}`
}
