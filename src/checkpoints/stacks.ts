import { FormatError } from '../core/errors.ts'
import { showShape } from '../core/shape.ts'
import { bytesOfRows, type TensorFile, type TensorInfo } from '../formats/tensorFile.ts'
import type { Module } from '../nn/module.ts'

/** What a tensor [experts, rows, ...] that holds those of several experts is made of. */
export interface Stack {
  /**
   * The paths of an expert's own tensors in a model, `E` standing for its number, in the order of their rows:
   * each has as many.
   */
  readonly parts: readonly string[]
  /** Whether the matrices lie the other way round than in the model: [experts, in, out]; of one part only. */
  readonly turned?: boolean
}

/** How many modules the longest list of a model has: of layers, experts or heads. */
export function longestList(model: Module): number {
  let longest = 0
  for (const [path] of model.namedModules()) {
    const place = Number(path.slice(path.lastIndexOf('.') + 1))
    if (place >= longest) longest = place + 1
  }
  return longest
}

/** Where the bytes of a part lie: in which tensor, and from which of its bytes on. */
interface Place {
  readonly stack: string
  readonly from: number
  /** In the order of the file. */
  readonly info: TensorInfo
}

/**
 * A file whose stacks are taken apart: the tensors of each expert are found by their paths in a model, and are
 * read where they lie.
 * @param stackOf what a tensor is a stack of; null of others. What cannot be taken apart stays as it is
 * @param mostOf modules of a list of the model, as `longestList` counts them where there is a stack
 * @throws FormatError if a stack is of more, or of none
 */
export function unstacked(
  file: TensorFile,
  stackOf: (path: string) => Stack | null,
  mostOf: () => number,
): TensorFile {
  let most: number | undefined
  const tensors = new Map<string, TensorInfo>()
  const places = new Map<string, Place>()
  for (const [path, info] of file.tensors) {
    const stack = stackOf(path)
    const [experts, rows, ...rest] = info.shape
    if (!stack || rows === undefined || rows % stack.parts.length !== 0) {
      tensors.set(path, info)
      continue
    }
    most ??= mostOf()
    if (!(experts <= most && info.byteLength > 0))
      throw new FormatError(
        `${file.name}: tensor "${info.name}" must hold the weights of at most ${most} modules, as many as a list of the model has; its shape is ${showShape(info.shape)}`,
        { tensor: info.name },
      )
    const count = experts * stack.parts.length
    const shape = [rows / stack.parts.length, ...rest]
    const byteLength = info.byteLength / count
    for (let i = 0; i < count; i++) {
      const part = stack.parts[i % stack.parts.length]
      const own = part.replace('.E.', `.${Math.floor(i / stack.parts.length)}.`)
      const from = i * byteLength
      const found = { ...info, shape, byteLength, byteOffset: info.byteOffset + from }
      places.set(own, { stack: path, from, info: found })
      const isTurned = stack.turned && shape.length === 2
      tensors.set(own, isTurned ? { ...found, shape: shape.toReversed(), columnMajor: true } : found)
    }
  }
  if (places.size === 0) return file
  return {
    ...file,
    tensors,
    async read(path) {
      const place = places.get(path)
      return place ? file.readBytes(place.stack, place.from, place.info.byteLength) : file.read(path)
    },
    async readRows(path, start, end, into) {
      const place = places.get(path)
      if (!place) return file.readRows(path, start, end, into)
      const { from, length } = bytesOfRows(file, place.info, start, end)
      return file.readBytes(place.stack, place.from + from, length, into)
    },
    async readBytes(path, from, length, into) {
      const place = places.get(path)
      if (!place) return file.readBytes(path, from, length, into)
      return file.readBytes(place.stack, place.from + from, length, into)
    },
    close: () => file.close(),
  }
}
