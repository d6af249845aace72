import { basename } from 'node:path'
import { FormatError } from '../core/errors.ts'
import { checkSaveTarget, saveFolder } from '../formats/atomicFolder.node.ts'
import { type ImportanceMatrix, writeImatrix, writeOldImatrix } from '../formats/imatrix.ts'
import { calibrationData } from '../models/calibrationData.ts'
import { collectImatrix } from '../models/imatrix.ts'
import { interrupted } from './interrupt.ts'
import { type CommonOptions, downloadBar, loadModel, withDevice } from './model.ts'
import { formatCount, printJson, progressBar } from './output.ts'

export interface ImatrixCommandOptions extends CommonOptions {
  calibration: string
  samples?: number
  length: number
  seed?: number
  packing: boolean
  out: string
  overwrite?: boolean
}

/** What is passed to `saveFolder`: one file, of whatever name. */
const file = 'imatrix'

/** `lowbit imatrix`: what the columns of a model's weights multiply, as a file that llama.cpp reads. */
export async function imatrixCommand(path: string, options: ImatrixCommandOptions): Promise<void> {
  const { calibration, samples, length, seed, packing, out, overwrite } = options
  const save = { file, overwrite: overwrite ? () => true : undefined, signal: interrupted }
  await checkSaveTarget(out, save)
  await withDevice(options, async (device) => {
    const model = await loadModel(path, device, options, { prepareTokenizer: true })
    const { maxPositions } = model.config
    if (length > maxPositions)
      throw new FormatError(
        `imatrix: --length must be within the model's context of ${maxPositions} tokens; received ${length}`,
      )
    const download = await downloadBar(options)
    const data = await calibrationData(calibration, {
      ...{ tokenizer: model.tokenizer, samples, length, seed, packing },
      ...{ signal: interrupted, onDownload: download.update },
    }).finally(download.stop)
    const bar = await progressBar('imatrix', options)
    const matrix = await collectImatrix(model, data, {
      ...{ datasets: [basename(calibration)], signal: interrupted, onProgress: bar.update },
    }).finally(bar.stop)
    const write = out.endsWith('.dat') ? writeOldImatrix : writeImatrix
    await saveFolder(out, (folder) => write(folder, file, matrix), save)
    print(
      matrix,
      data.reduce((sum, ids) => sum + ids.length, 0),
      options,
    )
  })
}

function print(matrix: ImportanceMatrix, tokens: number, { out, json }: ImatrixCommandOptions): void {
  const { entries, chunks } = matrix
  if (json) printJson({ out, tensors: entries.size, samples: chunks, tokens })
  else
    process.stdout.write(
      `${entries.size} tensors, ${formatCount(chunks)} samples, ${formatCount(tokens)} tokens; wrote ${out}\n`,
    )
}
