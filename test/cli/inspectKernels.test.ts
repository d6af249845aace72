import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import type { Region } from '../../src/devices/storage.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { golden, lowbit } from './lowbit.ts'

/**
 * The embedded model by quanto, with activations in 8 bits, by llama.cpp with one matrix for embedding and
 * head.
 */
const models = [
  join(golden, 'quanto-qint4'),
  join(golden, 'quanto-qfloat8'),
  join(golden, 'quanto-qint8-a8'),
  join(golden, '../gguf/stories260K-q5_1.gguf'),
]

describe('the kernels that inspect names', () => {
  const device = openDevice('cpu')
  after(() => device.close())

  for (const path of models) {
    test(`${path.slice(golden.length - 11)}: those that read each matrix in a forward pass`, async () => {
      const { code, stdout } = await lowbit('inspect', path, '--json')
      assert.equal(code, 0)
      const named = new Map<string, string>(
        JSON.parse(stdout).tensors.map(({ name, kernel }: Record<string, string>) => [name, kernel]),
      )
      using model = await loadCausalLM(path, { device })
      /** By storage, which a view of a matrix shares. */
      const ran = new Map<unknown, Set<string>>()
      const { call } = device
      device.call = ((kernel: string, args: Record<string, unknown>) => {
        for (const region of [args.w, args.b, args.table]) {
          if (!region) continue
          const { storage } = region as Region
          ran.set(storage, (ran.get(storage) ?? new Set()).add(kernel))
        }
        return call.call(device, kernel as never, args as never)
      }) as typeof call
      using ids = Tensor.fromArray(device, Int32Array.of(1, 403, 407), [1, 3])
      model.forward(ids).dispose()
      device.call = call
      let matrices = 0
      for (const [name, parameter] of model.namedParameters()) {
        const kernels = named.get(name)
        if (!kernels) continue
        const { storage } = parameter instanceof QTensor ? parameter.codeTiles : parameter
        assert.equal(kernels, [...(ran.get(storage) ?? [])].join(', '), name)
        matrices++
      }
      assert.ok(matrices >= 36, `${matrices} matrices`)
    })
  }
})
