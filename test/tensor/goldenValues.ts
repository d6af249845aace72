import { join } from 'node:path'
import { diskFolder } from '../../src/formats/file.node.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import type { Values } from './bilinear.ts'

/**
 * What PyTorch computed for one operation, by the last part of the names: `in.x`, `out`, `grad_out`,
 * `grad.x`; all float32.
 */
export async function goldenValues(operation: string): Promise<(key: string) => Values> {
  const file = await openSafetensors(
    await diskFolder(join(import.meta.dirname, '../golden/gradients')).open('gradients.safetensors'),
  )
  const found = new Map<string, Values>()
  for (const { name, shape } of file.tensors.values()) {
    if (!name.startsWith(`${operation}.`)) continue
    found.set(name.slice(operation.length + 1), {
      shape,
      values: new Float32Array((await file.read(name)).slice().buffer),
    })
  }
  await file.close()
  return (key) => {
    const values = found.get(key)
    if (!values) throw new Error(`no golden ${operation}.${key}`)
    return values
  }
}
