import { basename } from 'node:path'
import { DeviceError } from '../core/errors.ts'
import { interrupted } from './interrupt.ts'
import { type CommonOptions, type ComputeOptions, loadModel, withDevice } from './model.ts'
import { formatCount, printJson } from './output.ts'
import { CompletionServer } from './serve/server.ts'

/** The most tokens of a text and its prompt, unless the command line says more: what they take is kept for all. */
const usualContext = 4096

export type ServeCommandOptions = CommonOptions &
  ComputeOptions & {
    host: string
    port: number
    batch: number
    queue: number
    context?: number
    name?: string
    apiKey?: string
  }

/** `lowbit serve`: an OpenAI-compatible server, until it is interrupted; with `--json` its address as JSON. */
export async function serveCommand(path: string, options: ServeCommandOptions): Promise<void> {
  await withDevice(options, async (device) => {
    const model = await loadModel(path, device, options)
    const { batch: size, queue, host, port, apiKey, kv, computeDtype } = options
    const { maxPositions } = model.config
    const capacity = Math.min(options.context ?? usualContext, maxPositions)
    const id = options.name ?? basename(path).replace(/\.gguf$/, '')
    const server = new CompletionServer({ model, id, size, capacity, queue, kv, computeDtype, apiKey })
    try {
      const url = await server.listen(host, port).catch((error: Error) => {
        throw new DeviceError(`serve: must get port ${port} of ${host}; ${error.message}`)
      })
      if (options.json) printJson({ url: `${url}/v1`, model: id, context: capacity })
      else
        process.stdout.write(
          `${id} at ${url}/v1, ${formatCount(capacity)} tokens of context, ${size} texts at once (Ctrl-C ends it)\n`,
        )
      await new Promise<void>((resolve) => interrupted.addEventListener('abort', () => resolve()))
    } finally {
      await server.close()
    }
  })
}
