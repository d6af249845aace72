import { type FloatDType, isFloatDType } from '../../core/dtype.ts'
import { type Shape, sameShape } from '../../core/shape.ts'
import { type Block, blocksShape, matrixShape, showBlock } from '../../qtensor/parts.ts'
import type { StoredDType, TensorFile } from '../tensorFile.ts'
import type { QuantizationArgs } from './compressedTensorsSettings.ts'
import type { Part } from './scheme.ts'

/** Where a weight is stored, and what of it every format has. */
export interface StoredPlace {
  readonly args: QuantizationArgs
  readonly shape: Shape
  /** The weights that share a scale. */
  readonly block: Block
  /** The float dtype of `weight_scale` in the file; float32 where it has none. */
  readonly dtype: FloatDType
  /** The shape that a part has in the file; undefined where the file has none. */
  stored(name: string): Shape | undefined
  /** A part of this shape, or of the first of these that the file has. */
  part(name: string, dtypes: readonly StoredDType[], ...shapes: readonly Shape[]): Part
  /** `weight_scale`, of any of these dtypes. */
  scale(dtypes: readonly StoredDType[]): Part
}

/** Where the weight of a layer is stored, by its settings and what the file holds. */
export function placeOf(file: TensorFile, path: string, shape: Shape, args: QuantizationArgs): StoredPlace {
  const stored = (name: string) => file.tensors.get(`${path}.${name}`)
  const dtype = stored('weight_scale')?.dtype ?? 'float32'
  const block = blockOf(args, shape)
  const [out] = shape
  const part: StoredPlace['part'] = (name, dtypes, ...shapes) => {
    const found = shapes.find((one) => sameShape(one, stored(name)?.shape ?? []))
    return { name, dtypes, shape: found ?? shapes[0] }
  }
  const scaleShapes = { tensor: [[1], []], channel: [[out, 1], [out]] }[args.strategy as string]
  return {
    args,
    shape,
    block,
    dtype: isFloatDType(dtype) ? dtype : 'float32',
    stored: (name) => stored(name)?.shape,
    part,
    scale: (dtypes) => part('weight_scale', dtypes, ...(scaleShapes ?? [blocksShape(block, shape)])),
  }
}

/** A tensor that shares one scale is a tile of its size. */
function blockOf({ strategy, groupSize, tile }: QuantizationArgs, shape: Shape): Block {
  const [rows, columns] = matrixShape(shape)
  if (strategy === 'tensor') return { kind: 'tile', rows, columns }
  if (strategy === 'block') return { kind: 'tile', rows: tile[0], columns: tile[1] }
  return { kind: 'group', size: strategy === 'channel' ? columns : Math.min(groupSize, columns) }
}

/** What `inspect` prints. */
export function kindOf({ args, block, shape }: StoredPlace, type: string): string {
  const blocks = args.strategy === 'tensor' ? 'one scale' : showBlock(block, shape)
  return `${type}, ${args.symmetric ? '' : 'zero points, '}${blocks}`
}

/** Scales that are floats as a model has them. */
export const floatScales = ['float32', 'float16', 'bfloat16'] as const
