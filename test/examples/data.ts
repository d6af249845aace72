import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fetched } from '../../examples/mnist/mnist.ts'

const shared = join(import.meta.dirname, '../../../shared')

/** Data sets and models beside the repository, or where the environment says. */
export const data = process.env.LOWBIT_DATA ?? join(shared, 'data')
export const models = process.env.LOWBIT_MODELS ?? join(shared, 'models')

/** The folder with MNIST's files: there, or what `npm run examples:data` brought. */
export const mnistFolder = [join(data, 'mnist'), fetched].find((folder) => existsSync(folder)) ?? fetched

/** Why a test that needs these cannot run; false if it can. */
export function missing(...paths: string[]): string | false {
  const absent = paths.filter((path) => !existsSync(path))
  return (
    absent.length > 0 && `no ${absent.join(' or ')} (LOWBIT_DATA, LOWBIT_MODELS, "npm run examples:data")`
  )
}
