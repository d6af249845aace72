// What quantization does to one layer: the model's tree before and after; the layer's weights before, as
// codes, and dequantized; its output.
//
//     npm run example inspect
import { fileURLToPath } from 'node:url'
import { freeze, Linear, loadCausalLM, QLinear, QTensor, quantize, scope, Tensor } from 'lowbit'
import { readOptions } from './options.ts'

const about = `Shows what quantization does to one layer of a language model: the model before and after, the
layer's weights as floats, as codes and dequantized, its scales, and how far weights and output are
off.

MODEL is a folder in Hugging Face layout, a .gguf file or a hub id; without it, the model in
models/stories260K.`

const flags = readOptions(
  'inspect [MODEL]',
  about,
  {
    layer: ['model.layers.0.mlp.up_proj', 'path of a Linear layer'],
    weights: ['int4', 'type of the weights', ['int8', 'int4', 'int2', 'float8']],
  },
  1,
)
const model = await loadCausalLM(
  flags.positionals[0] ?? fileURLToPath(new URL('../models/stories260K', import.meta.url)),
)
console.log(`Before\n\n${model}\n`)

const layer = model.getModule(flags.layer)
if (!(layer instanceof Linear))
  throw new Error(`inspect: ${flags.layer} must be a Linear layer; it is ${layer.typeName}`)
const weight = await layer.weight.toNumbers()
const x = Tensor.fromNumbers(
  model.device,
  Float32Array.from({ length: layer.inFeatures }, (_, i) => Math.cos(i)),
  [1, layer.inFeatures],
)
const before = await layer.forward(x).toNumbers()

quantize(model, { weights: flags.weights })
freeze(model)
console.log(`After\n\n${model}\n`)

const twin = model.getModule(flags.layer)
if (!(twin instanceof QLinear && twin.weight instanceof QTensor))
  throw new Error(`inspect: ${flags.layer} was not quantized`)
const quantized = twin.weight
const parts = scope(() => ({
  codes: quantized.codes(),
  scale: quantized.scale(),
  shift: quantized.shift(),
  dequantized: quantized.dequantize(),
}))
const [codes, dequantized] = [await parts.codes.toNumbers(), await parts.dequantized.toNumbers()]
const after = await twin.forward(x).toNumbers()

const eight = (values: ArrayLike<number>, digits = 4) =>
  Array.from(values)
    .slice(0, 8)
    .map((value) => value.toFixed(digits).padStart(9))
    .join('')
const norm = (values: Iterable<number>) => {
  let squares = 0
  for (const value of values) squares += value * value
  return Math.sqrt(squares)
}
const relativeError = (a: Float32Array | Float64Array, b: ArrayLike<number>) =>
  norm(Float64Array.from(a, (v, i) => v - b[i])) / norm(a)
console.log(
  `${flags.layer}.weight: ${quantized}, ${layer.weight.byteLength} bytes before, ${quantized.byteLength} after\n`,
)
console.log(`float        ${eight(weight)} …`)
console.log(`codes        ${eight(codes, 0)} …`)
console.log(`dequantized  ${eight(dequantized)} …`)
console.log(`scales       ${eight(await parts.scale.toNumbers(), 5)} …`)
if (parts.shift) console.log(`shifts       ${eight(await parts.shift.toNumbers())} …`)
console.log(`\nOne row through the layer alone:\n`)
console.log(`float        ${eight(before)} …`)
console.log(`quantized    ${eight(after)} …`)
console.log(
  `\nRelative error: ${relativeError(weight, dequantized).toFixed(4)} of the weights, ${relativeError(before, after).toFixed(4)} of the output`,
)
await model.device.close()
