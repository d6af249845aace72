import type { Module } from '../nn/module.ts'
import type { RunOptions } from '../quantize/calibrated/run.ts'
import type { SampleArguments } from '../quantize/calibrated/stage.ts'
import { Tensor } from '../tensor/tensor.ts'
import { digest, modelDigest } from './modelDigest.ts'

/** What a calibrated run is made of: a hash of each, so that a message can say which is another. */
export type RunDigests = Readonly<Record<'model' | 'data' | 'options', string>>

/** Those of a run that is about to begin. */
export async function digestsOf(
  model: Module,
  {
    algorithms,
    quantization,
    blocks,
    samples,
  }: Pick<RunOptions, 'algorithms' | 'quantization' | 'blocks' | 'samples'>,
): Promise<RunDigests> {
  const steps = algorithms.map(({ name, settings, trueSequential }) => ({ name, settings, trueSequential }))
  return {
    model: await modelDigest(model),
    data: await dataDigest(samples),
    options: await digest(jsonOf({ steps, quantization, blocks })),
  }
}

async function dataDigest(samples: readonly SampleArguments[]): Promise<string> {
  const parts: string[] = []
  for (const argument of samples.flat())
    if (argument instanceof Tensor)
      parts.push(`${argument.dtype} ${argument.shape}`, await digest(await argument.readBytes()))
    else parts.push(jsonOf(ArrayBuffer.isView(argument) ? Array.from(argument as Int32Array) : argument))
  return digest(parts.join('\n'))
}

/** Classes and functions by their names. */
function jsonOf(value: unknown): string {
  return JSON.stringify(value, (_, held) => (typeof held === 'function' ? held.name : held)) ?? ''
}
