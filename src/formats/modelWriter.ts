import type { FloatDType } from '../core/dtype.ts'
import type { Shape } from '../core/shape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { FolderSink } from './source.ts'
import type { TensorHead } from './tensorFile.ts'

/** Tensors of which names, dtypes and shapes are known first, and bytes in any order, piece by piece. */
export interface PlacedTensors {
  /**
   * @param start where the bytes begin in those of the tensor
   * @throws FormatError if they are not within it
   */
  put(name: string, start: number, bytes: Uint8Array): Promise<void>
  /**
   * Ends the files. Resolves to the bytes written.
   * @throws FormatError if bytes of a tensor were never put
   */
  close(): Promise<number>
}

/** A container that a model is written into, tensor by tensor; names are those of the model. */
export interface ModelWriter {
  /** The one file that is written, which the target's path names; absent of what stands in a folder. */
  readonly file?: string
  /** What the container calls a tensor; default: as the model does. */
  nameOf?(tensor: string): string
  /** How a tensor stands in the container, where it is not as the model has it; null: as it is. */
  adapt?(tensor: TensorHead): Adaptation | null
  /** Lays out the files for tensors as `adapt` makes them. */
  place(folder: FolderSink, tensors: readonly TensorHead[]): Promise<PlacedTensors>
}

/** What of a tensor a container wants to be different. */
export interface Adaptation {
  /** The dtype that a float becomes; default: as the model has it. */
  readonly dtype?: FloatDType
  /** The shape that it has then; default: the same. */
  readonly shape?: Shape
  /** Its values in another order, such as that of rows; of blocks of bytes [N, bytes of a row]. */
  arrange?(values: Tensor): Tensor
}
