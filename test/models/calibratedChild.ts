import { openDevice } from '../../src/devices/open.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { quantizeCalibrated } from '../../src/models/quantizeCalibrated.ts'
import { exclude, hashOf, importance, samples } from './calibratedModel.ts'

/*
 * A process that quantizes stories260K, goes on in the folder that it is given, and prints the block that it
 * solves and, at the end, a hash of all tensors. With a number it stops in that block, until it is killed.
 */

const [resume, stopAt] = process.argv.slice(2)
const device = openDevice('cpu', { threads: 1 })
const model = await loadCausalLM('models/stories260K', { device })
const told = new Set<number>()
await quantizeCalibrated(model, {
  ...{ algorithm: importance, data: samples, exclude, resume },
  onProgress({ block, done }) {
    if (!told.has(block)) console.log(`block ${block} at ${done}`)
    told.add(block)
    // The kill comes while this waits.
    if (block === Number(stopAt) && done > (block - 0.5) / 5)
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000)
  },
})
console.log(`hash ${await hashOf(model)}`)
await device.close()
