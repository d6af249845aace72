import type { FloatDType } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import type { QType } from '../core/qtype.ts'
import type { Device } from '../devices/device.ts'
import type { GgufFile, GgufTensor } from '../formats/gguf.ts'
import { dequantizeBlocks, type GgufBlockType, ggufDTypes, ggufGroupSize, ggufTypes, unpackBlocks } from '../formats/ggufBlocks.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import { cast } from '../tensor/ops/index.ts'
import { keep, scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import { unpermuteRows } from './ggufTensors.ts'
import { readFloat } from './loadTensor.ts'

/** Values dequantized at a time: 4 MB of them. */
const chunkValues = 2 ** 20

/** A tensor to be read, and the heads whose rows llama.cpp stored in its own order; null if none. */
export interface GgufWeight {
  readonly file: GgufFile
  readonly tensor: GgufTensor
  readonly heads: number | null
}

/** The rows of a weight in Hugging Face's order. */
async function readOrdered({ file, tensor, heads }: GgufWeight): Promise<Uint8Array> {
  const bytes = await file.read(tensor.name)
  return heads === null ? bytes : unpermuteRows(bytes, tensor.shape, heads)
}

/**
 * Reads a tensor of floats onto the device, as `dtype` if given.
 * @throws FormatError if it holds NaN or infinity
 */
export function readGgufFloat(device: Device, weight: GgufWeight, dtype?: FloatDType): Promise<Tensor> {
  const { file, tensor } = weight
  const stored = ggufDTypes[tensor.type]
  if (!stored) throw new FormatError(`${file.name}: ${tensor.name} must be a float; it is ${tensor.type}`, { tensor: tensor.name })
  const container = { ...file, metadata: new Map(), tensors: new Map(), unsupported: new Map(), read: () => readOrdered(weight) }
  return readFloat(device, container, { ...tensor, dtype: stored }, dtype)
}

/**
 * Reads blocks onto the device as codes, scales and shifts, the scales cast to float32, in which ggml applies them.
 * @throws FormatError if a scale is NaN or infinite
 */
export async function readGgufBlocks(device: Device, weight: GgufWeight, type: GgufBlockType, qtype: QType): Promise<QTensor> {
  const { shape } = weight.tensor
  const [N, K] = shape
  const { codes, scale, shift } = unpackBlocks(type, await readOrdered(weight), N, K)
  checkFinite(weight, type, scale, shift)
  return scope(() => {
    const floats = (patterns: Uint16Array) => cast(Tensor.fromArray(device, patterns, [N, K / ggufGroupSize], 'float16'), 'float32')
    const codeTensor = Tensor.fromBytes(device, codes, [N, K], qtype.dtype)
    return keep(QTensor.fromParts(qtype, shape, ggufGroupSize, codeTensor, floats(scale), shift && floats(shift)))
  })
}

/**
 * Reads blocks onto the device as the floats that they stand for, some rows at a time; float32 unless `dtype` says otherwise.
 * @throws FormatError if a scale is NaN or infinite
 */
export async function readDequantized(device: Device, weight: GgufWeight, type: GgufBlockType, dtype: FloatDType = 'float32'): Promise<Tensor> {
  const { shape } = weight.tensor
  const [N, K] = shape
  const float = Tensor.empty(device, shape)
  try {
    const rows = Math.max(1, Math.floor(chunkValues / K))
    const all = weight.heads === null ? null : await readOrdered(weight)
    const rowBytes = weight.tensor.byteLength / N
    for (let start = 0; start < N; start += rows) {
      const end = Math.min(N, start + rows)
      const bytes = all ? all.subarray(start * rowBytes, end * rowBytes) : await weight.file.readRows(weight.tensor.name, start, end)
      const values = dequantizeBlocks(type, bytes, end - start, K)
      const bad = values.findIndex((value) => !Number.isFinite(value))
      if (bad >= 0) throw notFinite(weight, type, Math.floor((start * K + bad) / ggufGroupSize))
      using part = float.rows(start, end)
      part.write(new Uint8Array(values.buffer))
      // The queue holds a copy of what it has not written yet.
      await device.sync()
    }
    if (dtype === 'float32') return float
    const rounded = scope(() => keep(cast(float, dtype)))
    float.dispose()
    return rounded
  } catch (error) {
    float.dispose()
    throw error
  }
}

/** All exponent bits set: NaN or infinity in float16. */
const exponentMask = 0x7c00

function checkFinite(weight: GgufWeight, type: GgufBlockType, scale: Uint16Array, shift: Uint16Array | null): void {
  for (let block = 0; block < scale.length; block++) {
    const bad = (scale[block] & exponentMask) === exponentMask || (shift !== null && (shift[block] & exponentMask) === exponentMask)
    if (bad) throw notFinite(weight, type, block)
  }
}

function notFinite({ file, tensor }: GgufWeight, type: GgufBlockType, block: number): FormatError {
  return new FormatError(`${file.name}: ${tensor.name} must hold finite numbers; the scale of block ${block}, in the order of rows, is NaN or infinite`, {
    tensor: tensor.name,
    byteOffset: tensor.byteOffset + block * ggufTypes[type].bytes,
  })
}
