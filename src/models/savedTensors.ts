import type { FloatDType } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import { packRows, quantoTensors } from '../formats/quanto.ts'
import type { TensorToWrite } from '../formats/tensorFile.ts'
import { joinPath, type Module, type Parameter } from '../nn/module.ts'
import { activationScales, QModule } from '../nn/qmodule.ts'
import { quantoGroupSize } from '../qtensor/groupSize.ts'
import { matrixShape, showBlock } from '../qtensor/parts.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import { cast } from '../tensor/ops/elementwise.ts'
import type { Tensor } from '../tensor/tensor.ts'

/** The twins that optimum-quanto has. */
export const quantoTwins: readonly string[] = ['QLinear', 'QConv2d', 'QLayerNorm']

/** A tensor to be written, and what of the model it is made of: tied ones have the same source. */
export interface SavedPart extends TensorToWrite {
  readonly source: Parameter | null
  /** Which of the tensors that one source makes. */
  readonly part: string
}

/**
 * Every tensor of a model, once: what is tied, and a module at several paths, under its first path. Only
 * weights that quanto's own layers share are written with each of them: its `requantize` ties none, and would
 * leave the others without values.
 * @throws FormatError if quanto's format cannot hold the model
 */
export function* writtenTensors(model: Module): Generator<SavedPart> {
  const seen = new Set<Parameter>()
  const again = sharedByQuanto(model)
  for (const [path, module] of model.namedModules()) {
    const parts = [...partsOf(path, module)]
    for (const part of parts) if (!part.source || !seen.has(part.source) || again.has(part.source)) yield part
    for (const { source } of parts) if (source) seen.add(source)
  }
}

/** Every tensor of a model under each of its paths. @throws FormatError as `writtenTensors` */
export function* allTensors(model: Module): Generator<SavedPart> {
  for (const [path, module] of model.namedModules({ removeDuplicate: false })) yield* partsOf(path, module)
}

/** The quantized weights whose holders Python's quanto has, all of them. */
function sharedByQuanto(model: Module): Set<Parameter> {
  const shared = new Set<Parameter>()
  for (const [, module] of model.namedModules()) {
    if (!(module instanceof QModule) || !(module.weight instanceof QTensor)) continue
    if (quantoTwins.includes(module.typeName)) shared.add(module.weight)
  }
  for (const [, module] of model.namedModules())
    for (const [, tensor] of module.ownTensors())
      if (!quantoTwins.includes(module.typeName)) shared.delete(tensor)
  return shared
}

function* partsOf(path: string, module: Module): Generator<SavedPart> {
  if (module instanceof QModule) yield* quantizedParts(path, module)
  const scales: readonly string[] = module instanceof QModule ? activationScales : []
  for (const [name, tensor] of module.ownTensors()) {
    if (tensor instanceof QTensor || scales.includes(name)) continue
    const { dtype, shape } = tensor
    yield {
      name: joinPath(path, name),
      dtype,
      shape,
      bytes: () => tensor.readBytes(),
      source: tensor,
      part: 'values',
    }
  }
}

/** Codes, scales and the two activation scales of a module; of one that is not frozen only the latter. */
function* quantizedParts(path: string, module: QModule): Generator<SavedPart> {
  const { weight } = module
  const dtype = (weight?.dtype ?? 'float32') as FloatDType
  for (const name of activationScales) {
    yield {
      name: joinPath(path, name),
      dtype,
      shape: [],
      bytes: () => scaleBytes(module[name], dtype),
      source: null,
      part: name,
    }
  }
  if (!(weight instanceof QTensor) || !module.weights) return
  checkQuanto(path, weight)
  const { qtype, shape, groupSize } = weight
  const names = quantoTensors(path, { qtype, shape, bias: module.bias !== null, groupSize }, dtype)
  yield { ...names.data, bytes: () => packedCodes(weight), source: weight, part: 'data' }
  yield { ...names.scale, bytes: () => readOnce(() => weight.scale()), source: weight, part: 'scale' }
  if (names.shift)
    yield { ...names.shift, bytes: () => readOnce(() => weight.shift()), source: weight, part: 'shift' }
}

/** quanto does not store group sizes but derives them. */
function checkQuanto(path: string, { qtype, shape, block, groupSize, heldOffset, order }: QTensor): void {
  const [N, K] = matrixShape(shape)
  const expected = quantoGroupSize(qtype, K) ?? K
  // Of a single output each column has a scale where quanto quantized it, the row where lowbit did; quanto
  // reads both.
  const columns = N === 1 && qtype.bits < 8 && expected === K && groupSize === 1
  if (block.kind !== 'group' || order || (groupSize !== expected && !columns)) {
    throw new FormatError(
      `save: quanto's format takes ${qtype.name} of ${K} columns in groups of ${expected}; ${path} has ${showBlock(block, shape)}${order ? ', columns reordered' : ''}`,
    )
  }
  if (heldOffset && !qtype.unsigned)
    throw new FormatError(`save: quanto's format has no zero points for ${qtype.name}; ${path} has them`)
}

async function packedCodes(weight: QTensor): Promise<Uint8Array> {
  const [N, K] = matrixShape(weight.shape)
  const codes = await readOnce(() => weight.codes())
  // Columns that each have a scale are packed as one row.
  const G = weight.groupSize === 1 ? K : weight.groupSize
  return weight.qtype.bits === 8 ? codes : packRows(codes, (N * K) / G, G, weight.qtype.bits)
}

/** The bytes of a tensor that is made for this. */
async function readOnce(make: () => Tensor | null): Promise<Uint8Array> {
  const tensor = make()
  if (!tensor) return new Uint8Array()
  try {
    return await tensor.readBytes()
  } finally {
    tensor.dispose()
  }
}

/** An activation's scale in the dtype of the model's floats; 1 where it was never calibrated. */
async function scaleBytes(scale: Tensor | null, dtype: FloatDType): Promise<Uint8Array> {
  return scale ? readOnce(() => cast(scale, dtype)) : oneAs(dtype)
}

/** 1.0, the scale of activations that were never calibrated. */
function oneAs(dtype: FloatDType): Uint8Array {
  const pattern = { float32: [0, 0, 0x80, 0x3f], float16: [0, 0x3c], bfloat16: [0x80, 0x3f] }[dtype]
  return Uint8Array.from(pattern)
}
