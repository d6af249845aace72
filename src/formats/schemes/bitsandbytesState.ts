import type { FloatDType } from '../../core/dtype.ts'
import { fp4, nf4, type QType } from '../../core/qtype.ts'
import type { Shape } from '../../core/shape.ts'
import { JsonObject, parseJson, pythonFloat } from '../json.ts'

/** The types whose codes bitsandbytes stores. */
export const blockTypes: readonly QType[] = [nf4, fp4]

/** The name of the tensor, below a layer's path, that says how its weight is quantized. */
export function stateName(type: QType): string {
  return `weight.quant_state.bitsandbytes__${type.name}`
}

/** What is known of a quantized weight beside its tensors. */
export interface QuantState {
  readonly type: QType
  /** Values of the flattened weight that share a scale. */
  readonly blockSize: number
  /** Of the float weight, whose shape is [out, in]. */
  readonly dtype: FloatDType
  readonly shape: Shape
  /** Scales that are quantized once more: how many share a scale, and what was taken away from each. */
  readonly nested: { readonly blockSize: number; readonly offset: number } | null
}

/** No state has more: the longest are of some 200 bytes. */
export const maxStateBytes = 10_000

/**
 * The state that a tensor's bytes say, JSON as UTF-8.
 * @param type that of the tensor's name
 * @param name what messages call the tensor
 * @throws FormatError naming the field and what it says
 */
export function parseQuantState(bytes: Uint8Array, type: QType, name: string): QuantState {
  const json = new JsonObject(parseJson(bytes, name, { uniqueKeys: true, maxBytes: maxStateBytes }), name)
  if (json.string('quant_type') !== type.name) throw json.error('quant_type', `must be ${type.name}`)
  const shape = json.counts('shape')
  if (shape.length < 2) throw json.error('shape', 'must be that of a matrix')
  const isNested = json.has('nested_blocksize') || json.has('nested_offset') || json.has('nested_dtype')
  const nested = isNested
    ? { blockSize: json.positiveInteger('nested_blocksize'), offset: json.number('nested_offset') }
    : null
  if (isNested && json.string('nested_dtype') !== 'float32')
    throw json.error('nested_dtype', 'must be float32')
  return { type, blockSize: json.positiveInteger('blocksize'), dtype: readDtype(json), shape, nested }
}

function readDtype(json: JsonObject): FloatDType {
  const dtype = json.string('dtype')
  if (dtype === 'float32' || dtype === 'float16' || dtype === 'bfloat16') return dtype
  throw json.error('dtype', 'must be float32, float16 or bfloat16')
}

/** The text of a state as Python's `json.dumps` writes it. */
export function formatQuantState({ type, blockSize, dtype, shape, nested }: QuantState): string {
  const fields = [
    `"quant_type": "${type.name}"`,
    `"blocksize": ${blockSize}`,
    `"dtype": "${dtype}"`,
    `"shape": [${shape.join(', ')}]`,
  ]
  if (nested)
    fields.push(
      `"nested_blocksize": ${nested.blockSize}`,
      '"nested_dtype": "float32"',
      `"nested_offset": ${pythonFloat(nested.offset)}`,
    )
  return `{${fields.join(', ')}}`
}
