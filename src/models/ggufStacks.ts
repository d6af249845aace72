import { FormatError } from '../core/errors.ts'
import { numel, sameShape, showShape } from '../core/shape.ts'
import { ggufTypes } from '../formats/ggufBlocks.ts'
import { ggufTypeOf } from '../formats/ggufWriter.ts'
import type { TensorHead } from '../formats/tensorFile.ts'
import type { TensorPlace } from './ggufTensors.ts'

/** The tensors of a GGUF file, and where those of a model go. */
export interface StackedTensors {
  /** Those of the experts of a layer are one tensor [experts, ...]. */
  readonly heads: readonly TensorHead[]
  /** The tensor that one of the model is, or is a part of, and the byte of it with which it begins. */
  placeOf(path: string): { name: string; start: number }
}

/**
 * Brings the tensors of experts together, as llama.cpp keeps them.
 * @param tensors of a model, each as it stands in the file
 * @throws FormatError if the experts of a layer are not of one type and shape
 */
export function stackExperts(
  tensors: readonly TensorHead[],
  placeOf: (path: string) => TensorPlace,
): StackedTensors {
  const heads = new Map<string, TensorHead & { count: number }>()
  const places = new Map<string, { name: string; start: number }>()
  for (const { name: path, dtype, shape } of tensors) {
    const { name, expert } = placeOf(path)
    const type = ggufTypeOf(dtype)
    const block = type && ggufTypes[type]
    const bytes = block ? (numel(shape) / block.values) * block.bytes : 0
    places.set(path, { name, start: (expert ?? 0) * bytes })
    const first = heads.get(name)
    // Names that two tensors have by mistake are refused where the file is laid out.
    if (first && expert !== null && (first.dtype !== dtype || !sameShape(first.shape, shape)))
      throw new FormatError(
        `gguf: the experts of a layer must be of one type and shape, as ${name} is ${first.dtype} ${showShape(first.shape)}; ${path} is ${dtype} ${showShape(shape)}`,
        { tensor: path },
      )
    if (first && expert !== null) first.count++
    else heads.set(expert === null ? path : name, { name, dtype, shape, count: expert === null ? 0 : 1 })
  }
  return {
    heads: [...heads.values()].map(({ count, ...head }) =>
      count === 0 ? head : { ...head, shape: [count, ...head.shape] },
    ),
    placeOf: (path) => places.get(path) ?? { name: path, start: 0 },
  }
}
