import { ShapeError } from '../../core/errors.ts'
import type { Embedding } from '../../nn/embedding.ts'
import type { Module } from '../../nn/module.ts'
import { add, cast, concat, div, embedding, matmul, mul, transpose } from '../../tensor/ops/index.ts'
import { scope } from '../../tensor/scope.ts'
import { Tensor } from '../../tensor/tensor.ts'
import type { Edits } from '../calibrated/edits.ts'
import type { Structure } from './feeds.ts'
import { isMultiplier, type Multiplier, putWeightRows, weightRows } from './multiplier.ts'
import { hasBias, normWeight, putNormWeight, type WeightedNorm } from './scaleFeed.ts'
import type { Stream } from './streams.ts'

/*
 * Turns what passes between layers by an orthogonal matrix R, x becomes x · R, within the weights: the model
 * computes the same.
 */

/**
 * Turns a stream: embeddings and layers write x · R, layers take it back. Weights of normalizations go into
 * the layers after them first, and so do their biases where all of these have one; elsewhere a bias becomes
 * (bias / weight) · R.
 * @param R [size, size] float32, orthogonal; rows that keep their mean where the stream is centred
 * @throws ShapeError if such a bias stands beside a weight of 0; the model is then as before
 */
export async function rotateStream(
  edits: Edits,
  { modules }: Structure,
  stream: Stream,
  R: Tensor,
): Promise<void> {
  const norms = new Map([...stream.norms].map((path) => [path, modules.get(path) as WeightedNorm]))
  const after = (path: string) =>
    [...stream.readers].flatMap(([layer, norm]) => (norm === path ? [modules.get(layer) as Multiplier] : []))
  const intoLayers = (path: string) => after(path).every(({ bias }) => bias !== null)
  for (const [path, norm] of norms) {
    if (!norm.bias || intoLayers(path)) continue
    using weight = scope(() => normWeight(norm))
    const weights = await weight.toNumbers()
    if (weights.includes(0))
      throw new ShapeError(
        `rotate: the weights of ${path} must not be 0 beside a bias, since the layers after it have none; received 0 at ${weights.indexOf(0)}`,
      )
  }
  scope(() => {
    for (const [path, norm] of stream.readers) {
      const layer = modules.get(path) as Multiplier
      const rows = weightRows(layer)
      const source = norm === null ? undefined : norms.get(norm)
      if (source?.bias && norm !== null && intoLayers(norm) && hasBias(layer)) {
        const moved = matmul(rows, cast(source.bias, 'float32'))
        edits.put(layer, 'bias', add(cast(layer.bias, 'float32'), moved))
      }
      putWeightRows(edits, layer, matmul(source ? mul(rows, normWeight(source)) : rows, R))
    }
    for (const [path, norm] of norms) {
      const weight = normWeight(norm)
      if (hasBias(norm)) {
        const left = matmul(div(cast(norm.bias, 'float32'), weight), R)
        edits.put(norm, 'bias', intoLayers(path) ? Tensor.full(R.device, weight.shape, 0) : left)
      }
      putNormWeight(edits, norm, Tensor.full(R.device, weight.shape, 1))
    }
    for (const path of stream.writers) rotateWriter(edits, modules.get(path) as Module, R)
  })
}

function rotateWriter(edits: Edits, writer: Module, R: Tensor): void {
  if (isMultiplier(writer)) {
    putWeightRows(edits, writer, matmul(transpose(R, 0, 1), weightRows(writer)))
    if (hasBias(writer)) edits.put(writer, 'bias', matmul(cast(writer.bias, 'float32'), R))
  } else {
    const table = writer as Embedding
    edits.put(table, 'weight', matmul(cast(table.weight, 'float32'), R))
  }
}

/** The values that an attention gives a layer, head by head. */
export interface HeadValues {
  /** The layer that makes them, and those of its outputs that they are, head by head. */
  readonly from: string
  readonly values: Int32Array
  /** The layers that take what the attention gives of them. */
  readonly to: readonly string[]
  readonly headSize: number
}

/** The layers between whose products values are only averaged. */
export function headValues(structure: Structure): HeadValues[] {
  const found: HeadValues[] = []
  for (const from of structure.multipliers.keys()) {
    const { layers, blocked } = structure.readers(from)
    const after = [...layers].filter(([, { headSize }]) => headSize !== null)
    const [[, first] = []] = after
    if (!first?.headSize || first.at.some((channel) => blocked.has(channel))) continue
    const values = Int32Array.from(new Set(first.at))
    const alike = after.every(
      ([, { at, onlyMoved }]) => onlyMoved && inHeads(at, values, first.headSize as number),
    )
    if (alike) found.push({ from, values, to: after.map(([path]) => path), headSize: first.headSize })
  }
  return found
}

/** Whether columns are whole heads of these values. */
function inHeads(at: Int32Array, values: Int32Array, size: number): boolean {
  const places = new Map([...values].map((channel, i) => [channel, i]))
  return at.every((channel, i) => {
    const [place, first] = [places.get(channel), places.get(at[i - (i % size)])]
    return first !== undefined && first % size === 0 && place === first + (i % size)
  })
}

/** Turns the values of each head. @param R [headSize, headSize] float32, orthogonal */
export function rotateHeads(
  edits: Edits,
  { modules }: Structure,
  { from, values, to, headSize }: HeadValues,
  R: Tensor,
): void {
  scope(() => {
    const source = modules.get(from) as Multiplier
    const rows = weightRows(source)
    putWeightRows(edits, source, turnedRows(rows, values, R))
    if (hasBias(source)) {
      const column = cast(source.bias, 'float32').view([source.bias.numel, 1])
      edits.put(source, 'bias', turnedRows(column, values, R).view(source.bias.shape))
    }
    for (const path of to) {
      const layer = modules.get(path) as Multiplier
      const weight = weightRows(layer)
      const heads = weight.view([weight.numel / headSize, headSize])
      putWeightRows(edits, layer, matmul(heads, R).view(weight.shape))
    }
  })
}

/** The matrix with the rows of each head, which `values` names, multiplied by Rᵀ. */
function turnedRows(rows: Tensor, values: Int32Array, R: Tensor): Tensor {
  const { device } = R
  const [N, K] = rows.shape
  const size = R.shape[0]
  const heads = embedding(rows, Tensor.fromArray(device, values)).view([values.length / size, size, K])
  const turned = matmul(transpose(R, 0, 1), heads).view([values.length, K])
  const places = Int32Array.from({ length: N }, (_, row) => row)
  for (const [i, row] of values.entries()) places[row] = N + i
  return embedding(concat([rows, turned], 0), Tensor.fromArray(device, places))
}
