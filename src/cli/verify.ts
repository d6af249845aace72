import { verify } from '../models/verify.ts'
import { interrupted } from './interrupt.ts'
import { type CommonOptions, withDevice } from './model.ts'
import { formatBytes, printJson, printTable, progressBar } from './output.ts'

/** The tensors with the largest errors that are printed. */
const errorsShown = 10

/** `lowbit verify`: says what of a model is not as it should be; exit code 1 when something is unsound. */
export async function verifyCommand(
  path: string,
  options: CommonOptions & { against?: string },
): Promise<void> {
  await withDevice(options, async (device) => {
    const bar = await progressBar('verify', options)
    const { against } = options
    const found = await verify(path, {
      ...{ against, device, signal: interrupted, onProgress: bar.update },
    }).finally(bar.stop)
    const { scheme, tensors, bytes, findings, sound } = found
    if (!sound) process.exitCode = 1
    const errors = [...found.errors].map(([tensor, error]) => ({ tensor, error }))
    if (options.json) return printJson({ scheme, tensors, bytes, sound, findings, errors })
    if (findings.length > 0)
      await printTable(
        [{ head: '' }, { head: 'tensor' }, { head: 'finding' }],
        findings.map(({ tensor, unsound, finding }) => [
          unsound ? 'unsound' : 'note',
          tensor ?? 'model',
          finding,
        ]),
      )
    if (errors.length > 0) {
      const largest = errors.toSorted((a, b) => b.error - a.error).slice(0, errorsShown)
      await printTable(
        [{ head: 'largest errors' }, { head: 'relative error', numeric: true }],
        largest.map(({ tensor, error }) => [tensor, error.toFixed(5)]),
      )
    }
    const what = scheme === null ? '' : scheme === 'none' ? ' of floats' : ` quantized by ${scheme}`
    const size = `${tensors} tensors${what}, ${formatBytes(bytes)}`
    process.stdout.write(`${size}: ${sound ? 'sound' : 'unsound'}\n`)
  })
}
