import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freeze, initialize, LayerNorm, Linear, Module, openDevice, QTensor, quantize } from 'lowbit'

class Net extends Module {
  norm = new LayerNorm(64)
  fc = new Linear(64, 8)
}

test('a group size is that of matrices: a normalization in the model does not mind', () => {
  const model = initialize(new Net(), openDevice(), { seed: 0 })
  assert.deepEqual(quantize(model, { weights: 'int4', groupSize: 32 }), ['fc'])
  freeze(model)
  assert.ok(model.fc.weight instanceof QTensor)
  assert.equal((model.fc.weight as QTensor).groupSize, 32)
  model.dispose()
})
