import { dtypes, type FloatDType, viewAs } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import { toNumbers } from '../core/halves.ts'
import type { QType } from '../core/qtype.ts'
import { numel, type Shape } from '../core/shape.ts'
import type { Device } from '../devices/device.ts'
import { type QuantoTensors, unpackRows } from '../formats/quanto.ts'
import type { TensorFile, TensorInfo } from '../formats/tensorFile.ts'
import { matrixShape } from '../qtensor/parts.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import { cast, expand } from '../tensor/ops/index.ts'
import { keep, scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'

/** The bits of infinity, without a sign: numbers lie below, NaN above. */
const infinities: Record<FloatDType, number> = { float32: 0x7f800000, float16: 0x7c00, bfloat16: 0x7f80 }

/**
 * By dtype and the one that it is cast to, the bits of the least number that rounds to infinity there: half a
 * step above the largest.
 */
const overflows: Partial<Record<FloatDType, Partial<Record<FloatDType, number>>>> = {
  // 65520, of which bfloat16 has no number before 65536; and (2 − 2⁻⁸) · 2¹²⁷.
  float32: { float16: 0x477ff000, bfloat16: 0x7f7f8000 },
  bfloat16: { float16: 0x4780 },
}

/**
 * Reads a float tensor onto the device, as `dtype` if given.
 * @throws FormatError if it holds NaN or infinity, or a number that would become one
 */
export async function readFloat(
  device: Device,
  file: TensorFile,
  info: TensorInfo,
  dtype = info.dtype as FloatDType,
): Promise<Tensor> {
  const bytes = await file.read(info.name)
  checkFinite(file.name, info, bytes, dtype)
  return scope(() => keep(cast(Tensor.fromBytes(device, bytes, info.shape, info.dtype), dtype)))
}

/**
 * Reads codes and scales as quanto saves them. `groupSize` null: one scale a row, or one a column where the
 * file has them so.
 */
export async function readQuanto(
  device: Device,
  file: TensorFile,
  { data, scale, shift }: QuantoTensors<TensorInfo>,
  { qtype, shape, groupSize }: { qtype: QType; shape: Shape; groupSize: number | null },
): Promise<QTensor> {
  const [N, K] = matrixShape(shape)
  const packed = await file.read(data.name)
  const codes =
    qtype.bits === 8 ? packed : unpackRows(packed, (N * K) / (groupSize ?? K), groupSize ?? K, qtype.bits)
  const scaleBytes = await file.read(scale.name)
  checkFinite(file.name, scale, scaleBytes)
  const shiftBytes = shift && (await file.read(shift.name))
  if (shift && shiftBytes) checkFinite(file.name, shift, shiftBytes)
  const columns = [scale, shift].some((info) => info && numel(info.shape) > (N * K) / (groupSize ?? K))
  const G = columns ? 1 : (groupSize ?? K)
  return scope(() => {
    const scales = (info: TensorInfo, bytes: Uint8Array) => {
      const values = Tensor.fromBytes(device, bytes, info.shape, info.dtype)
      return (columns ? expand(values, shape) : values).view([N, K / G])
    }
    const values = scales(scale, scaleBytes)
    return keep(
      QTensor.fromParts({
        type: qtype,
        shape,
        dtype: values.dtype as FloatDType,
        codes: Tensor.fromBytes(device, codes, [N, K], qtype.dtype),
        block: { kind: 'group', size: G },
        scale: { values },
        offset: shift && shiftBytes ? { kind: 'shift', values: scales(shift, shiftBytes) } : null,
      }),
    )
  })
}

/**
 * @param name what messages begin with
 * @throws FormatError naming the first value that is NaN or infinite, or becomes so as `dtype`
 */
export function checkFinite(
  name: string,
  info: Pick<TensorInfo, 'name' | 'dtype' | 'byteOffset'>,
  bytes: Uint8Array,
  dtype?: FloatDType,
): void {
  const stored = info.dtype as FloatDType
  const size = dtypes[stored].bytes
  // Not slice: that of Node's Buffer makes a view.
  const aligned = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes)
  const words =
    size === 4
      ? new Uint32Array(aligned.buffer, aligned.byteOffset, bytes.length / 4)
      : new Uint16Array(aligned.buffer, aligned.byteOffset, bytes.length / 2)
  const signless = size === 4 ? 0x7fffffff : 0x7fff
  const infinity = infinities[stored]
  const limit = (dtype && overflows[stored]?.[dtype]) ?? infinity
  for (let i = 0; i < words.length; i++) {
    const magnitude = words[i] & signless
    if (magnitude < limit) continue
    const where = { tensor: info.name, byteOffset: info.byteOffset + i * size }
    if (magnitude >= infinity)
      throw new FormatError(
        `${name}: ${info.name} must hold finite numbers; value ${i} is NaN or infinite`,
        where,
      )
    const [value] = toNumbers(stored, viewAs(stored, bytes.slice(i * size, (i + 1) * size)))
    throw new FormatError(
      `${name}: ${info.name} must hold numbers that ${dtype} can hold; value ${i} is ${value}`,
      where,
    )
  }
}
