import assert from 'node:assert/strict'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { minmax } from '../../src/quantize/minmax.ts'
import { cast } from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { cases, layers, loadCase } from '../formats/compressedCases.ts'
import { testOnDevices } from '../tensor/devices.ts'

/*
 * The codes, scales and zero points of minmax are those of compressed-tensors 0.20 for ranges that it
 * observed.
 */

const chosen = Object.keys(cases).filter((name) => !/^(nvfp4|mxfp|int4)|whole|ordered/.test(name))

testOnDevices("scales, zero points and codes are the library's", async (device) => {
  const { values, shape } = layers.get('weight') ?? assert.fail('no weight')
  using weight = Tensor.fromNumbers(device, values, [...shape])
  for (const name of chosen) {
    const { net, weight: theirs } = await loadCase(name, device)
    const { strategy, group_size, symmetric, block_structure } = cases[name].weights as {
      strategy: string
      group_size: number | null
      symmetric: boolean
      block_structure?: [number, number]
    }
    using x = cast(weight, theirs.dtype)
    const groupSize = block_structure?.[1] ?? group_size
    const blockRows = strategy === 'tensor' ? null : block_structure?.[0]
    using ours = QTensor.quantize(x, theirs.qtype, groupSize, minmax, null, {
      zeroPoints: theirs.hasZeroPoints,
      symmetric,
      ...(blockRows !== undefined && { blockRows }),
    })
    // The first group of 32 has zeros only: its codes stand for 0 whatever its scale is.
    const skipped = strategy === 'group' ? 1 : 0
    const same = async (part: string, a: Tensor | null, b: Tensor | null, from: number) => {
      assert.equal(a === null, b === null, `${name}: ${part}`)
      if (!a || !b) return
      const [own, other] = [await a.readBytes(), await b.readBytes()].map((bytes) => {
        return Buffer.from(bytes.subarray((from * bytes.length) / a.numel))
      })
      assert.ok(own.equals(other), `${name}: ${part}`)
      a.dispose()
      b.dispose()
    }
    await same('scales', ours.scale(), theirs.scale(), skipped)
    await same('zero points', ours.zeroPoint(), theirs.zeroPoint(), skipped)
    await same('codes', ours.codes(), theirs.codes(), symmetric ? 0 : 32 * skipped)
    net.dispose()
  }
})
