import assert from 'node:assert/strict'
import { test } from 'node:test'
import { memoryFolder } from '../../src/formats/source.ts'
import { convert } from '../../src/models/convert.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { openCheckpoint } from '../../src/models/openCheckpoint.ts'
import { verify } from '../../src/models/verify.ts'
import { scope } from '../../src/tensor/scope.ts'
import { stories } from './golden.ts'

/* What works on a device for a while closes none that others may use. */

test('a model goes on while others are converted, verified and opened beside it', async () => {
  const model = await loadCausalLM(stories)
  const logits = () => scope(() => model.forward([1, 2, 3])).read()
  const before = await logits()
  await convert(stories, memoryFolder(new Map()), { to: 'gptq', onWarning: () => {} })
  assert.deepEqual(await logits(), before)
  assert.ok((await verify(stories)).sound)
  assert.deepEqual(await logits(), before)
  const checkpoint = await openCheckpoint(stories)
  await checkpoint.read('model.norm.weight')
  await checkpoint.close()
  assert.deepEqual(await logits(), before)
  await model.device.close()
})
