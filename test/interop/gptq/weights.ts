import assert from 'node:assert/strict'
import type { CausalLM } from '../../../src/models/causalLM.ts'
import { QTensor } from '../../../src/qtensor/qtensor.ts'
import type { GoldenTensor } from '../../golden.ts'

/**
 * The weights of a model's quantized layers are those that Python has, bit for bit; both have the same ones.
 */
export async function checkWeights(
  model: CausalLM,
  python: ReadonlyMap<string, GoldenTensor>,
): Promise<void> {
  const paths: string[] = []
  for (const [path, weight] of model.namedParameters()) {
    if (!(weight instanceof QTensor)) continue
    paths.push(path)
    using float = weight.dequantize()
    const theirs = python.get(path)
    assert.equal(theirs?.dtype, float.dtype, path)
    assert.ok(Buffer.from(await float.readBytes()).equals(theirs.bytes), `${path} differs`)
  }
  assert.deepEqual(paths.sort(), [...python.keys()].sort())
}
