import { digest } from '../../src/models/modelDigest.ts'
import type { Module } from '../../src/nn/module.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import type { CalibratedAlgorithm } from '../../src/quantize/calibrated/algorithm.ts'
import { ggufQuantizer } from '../../src/quantize/ggufQuantizers.ts'

/** What is no whole blocks of that type, and the head. */
export const exclude = ['*down_proj', 'lm_head']

/** An algorithm that collects statistics; stories260K's down_proj is no whole blocks of its type. */
export const importance: CalibratedAlgorithm = {
  name: 'importance',
  options: { weights: 'int4' },
  quantizer: ggufQuantizer('Q4_0', { importance: true }),
  trueSequential: true,
}

/** Token ids of stories260K. */
export const samples = [0, 1, 2].map((i) => Array.from({ length: 20 + i }, (_, j) => (7 * i + 13 * j) % 512))

/** A hash of all tensors of a model, of quantized ones of their codes and scales. */
export async function hashOf(model: Module): Promise<string> {
  const hashes: string[] = []
  for (const [path, tensor] of model.namedTensors())
    for (const part of tensor instanceof QTensor ? [tensor.codes(), tensor.scale()] : [tensor])
      hashes.push(path, await digest(await part.readBytes()))
  return digest(hashes.join('\n'))
}
