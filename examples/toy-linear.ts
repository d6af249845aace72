// torchao's quick start: two linear layers of 1024, quantized by a recipe; size and time before and after.
//
//     npm run example toy-linear
import * as lowbit from 'lowbit'
import {
  freeze,
  initialize,
  Linear,
  Module,
  memoryFootprint,
  openDevice,
  quantize,
  scope,
  Tensor,
} from 'lowbit'
import { readOptions } from './options.ts'

const recipes = {
  int4WeightOnly: lowbit.int4WeightOnly(),
  int8WeightOnly: lowbit.int8WeightOnly(),
  int8DynamicActivationInt8Weight: lowbit.int8DynamicActivationInt8Weight(),
  int8DynamicActivationInt4Weight: lowbit.int8DynamicActivationInt4Weight(),
  float8WeightOnly: lowbit.float8WeightOnly(),
  float8DynamicActivationFloat8Weight: lowbit.float8DynamicActivationFloat8Weight(),
}

class ToyLinearModel extends Module {
  linear1 = new Linear(1024, 1024, { bias: false })
  linear2 = new Linear(1024, 1024, { bias: false })

  forward(x: Tensor): Tensor {
    return scope(() => this.linear2.forward(this.linear1.forward(x)))
  }
}

const about = `Quantizes two linear layers of 1024 by one of torchao's recipes, and tells size, time and error
beside those of the float layers. The weights are random, so it needs no data.`

const { recipe, runs, batch, json } = readOptions('toy-linear', about, {
  recipe: ['int4WeightOnly', 'how', Object.keys(recipes) as (keyof typeof recipes)[]],
  runs: [100, 'forward passes to time'],
  batch: [1, 'rows of the input'],
  json: [false, 'print the figures as JSON'],
})

const device = openDevice()
const model = initialize(new ToyLinearModel(), device, { seed: 0 })
const quantized = model.clone()
quantize(quantized, recipes[recipe])
freeze(quantized)

const x = Tensor.fromNumbers(
  device,
  Float32Array.from({ length: batch * 1024 }, (_, i) => Math.sin(i)),
  [batch, 1024],
)

/** Mean milliseconds of a forward pass of each model, in turns, the first ones left out. */
async function time(models: readonly ToyLinearModel[], runs: number): Promise<number[]> {
  const totals = models.map(() => 0)
  for (let run = -Math.ceil(runs / 10); run < runs; run++) {
    for (const [index, toy] of models.entries()) {
      const started = performance.now()
      const y = toy.forward(x)
      await device.sync()
      if (run >= 0) totals[index] += performance.now() - started
      y.dispose()
    }
  }
  return totals.map((total) => total / runs)
}

const [y, z] = [await model.forward(x).toNumbers(), await quantized.forward(x).toNumbers()]
const norm = (values: Iterable<number>) => Math.hypot(...values)
const error = norm(y.map((value, i) => value - z[i])) / norm(y)
const [floatMs, quantizedMs] = await time([model, quantized], runs)
const [floatBytes, quantizedBytes] = [memoryFootprint(model), memoryFootprint(quantized)]

if (json) console.log(JSON.stringify({ floatBytes, quantizedBytes, floatMs, quantizedMs, error }))
else {
  const mb = (bytes: number) => `${(bytes / 2 ** 20).toFixed(2)} MB`
  console.log(`${quantized}\n`)
  console.log(
    `float32: ${mb(floatBytes)}, ${floatMs.toFixed(3)} ms (mean of ${runs} runs, batch ${batch}, ${device.name})`,
  )
  console.log(`${recipe}: ${mb(quantizedBytes)}, ${quantizedMs.toFixed(3)} ms`)
  console.log(
    `${(floatBytes / quantizedBytes).toFixed(1)} × smaller, ${(floatMs / quantizedMs).toFixed(1)} × faster, ${(100 * error).toFixed(1)} % off`,
  )
}
await device.close()
