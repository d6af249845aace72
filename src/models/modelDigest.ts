import type { Module, Parameter } from '../nn/module.ts'
import { lookup } from '../qtensor/lookup.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import { scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'

/** A SHA-256 in hexadecimal. */
export async function digest(content: string | Uint8Array<ArrayBuffer>): Promise<string> {
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content
  const hash = new Uint8Array(await globalThis.crypto.subtle.digest('SHA-256', bytes))
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/**
 * A hash of a model's tree, which says how it is quantized, of its vectors (norms, biases), and of the first
 * row of each matrix.
 */
export async function modelDigest(model: Module): Promise<string> {
  const parts = [String(model)]
  for (const [path, tensor] of model.namedTensors()) {
    const start = scope(() => startOf(tensor))
    parts.push(path, await digest(await start.readBytes().finally(() => start.dispose())))
  }
  return digest(parts.join('\n'))
}

/** A vector whole, of all else the first row; of a quantized weight what it stands for. */
function startOf(parameter: Parameter): Tensor {
  if (parameter instanceof QTensor)
    return lookup(parameter, Tensor.fromArray(parameter.device, Int32Array.of(0)))
  return parameter.shape.length < 2 ? parameter.clone() : parameter.rows(0, 1).clone()
}
