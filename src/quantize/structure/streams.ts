import { Embedding } from '../../nn/embedding.ts'
import type { GraphNode } from '../../tensor/graph.ts'
import { Reference } from '../../tensor/held.ts'
import { placesOf } from './channels.ts'
import type { Structure } from './feeds.ts'

/*
 * Which tensors of a model may be seen in another basis: what embeddings and layers give is turned where
 * they write it, and turned back where layers read it. Sums, factors of rows and normalizations between them
 * do not see which basis it is; whatever looks at single channels does, and ties the tensor to its own.
 */

/** Tensors that are added to one another: one basis holds for all. */
export interface Stream {
  /** Values of a row. */
  readonly size: number
  /** Embeddings, and layers that multiply a matrix: what gives its tensors. */
  readonly writers: ReadonlySet<string>
  /** Layers that take it, each under its path; by the path of a normalization with weights between, or null. */
  readonly readers: ReadonlyMap<string, string | null>
  /** The normalizations that take it. */
  readonly norms: ReadonlySet<string>
  /** Whether one of them subtracts the mean of a row. */
  readonly centred: boolean
  /** A sentence on what ties it to its channels; null where nothing does. */
  readonly obstacle: string | null
}

/** A stream that is being found; joined with another it refers to that. */
interface Growing {
  joined: Growing | null
  size: number
  writers: Set<string>
  readers: Map<string, string | null>
  norms: Set<string>
  centred: boolean
  obstacle: string | null
}

/** A tensor of a stream, and the path of the normalization whose weights multiply its channels. */
interface Value {
  stream: Growing
  norm: string | null
}

/** The streams that more than one module writes to, such as the residual stream of a transformer. */
export function streamsOf(structure: Structure): Stream[] {
  const values = new Map<GraphNode, Value>()
  const written = new Map<string, Growing>()
  for (const node of structure.graph.nodes) {
    const value = givenBy(node, structure, values, written)
    if (!value) continue
    values.set(node, value)
    if (structure.isGiven(node)) hinder(value.stream, node)
  }
  const streams = new Set([...written.values()].map(root))
  return [...streams].filter(({ writers }) => writers.size > 1)
}

/** What a node gives, where that is a tensor of a stream. */
function givenBy(
  node: GraphNode,
  structure: Structure,
  values: ReadonlyMap<GraphNode, Value>,
  written: Map<string, Growing>,
): Value | null {
  const { module } = node
  const taken = node.inputs.flatMap((input) => {
    const value = values.get(input)
    return value ? [{ input, value }] : []
  })
  if (structure.multipliers.has(module) || isLookUp(node, structure)) {
    for (const { value } of taken) if (!written.has(module)) read(value, module, node)
    if (!structure.outputsOf(module).includes(node)) return null
    const stream = written.get(module) ?? newStream(node.shape.at(-1) ?? 0, module)
    written.set(module, stream)
    return { stream, norm: null }
  }
  const [first, second] = taken
  if (!first) return null
  if (isNormalization(node)) return normalized(node, first.value, structure)
  if ((node.name === 'add' || node.name === 'sub') && second) {
    join(first.value, second.value, node)
    return { stream: root(first.value.stream), norm: null }
  }
  if (taken.length === 1 && keepsBasis(node, first.input)) return first.value
  for (const { value } of taken) hinder(value.stream, node)
  return null
}

function isLookUp(node: GraphNode, { modules }: Structure): boolean {
  return node.name === 'embedding' && modules.get(node.module) instanceof Embedding
}

function isNormalization({ name }: GraphNode): boolean {
  return name === 'rmsNorm' || name === 'layerNorm'
}

function normalized(node: GraphNode, { stream, norm }: Value, structure: Structure): Value | null {
  const found = root(stream)
  const weighted = node.arguments.weight instanceof Reference
  if (norm !== null || (weighted && !structure.isNorm(node.module))) {
    if (norm !== null) scaled(found, norm)
    hinder(found, node)
    return null
  }
  if (node.name === 'layerNorm') found.centred = true
  if (weighted) found.norms.add(node.module)
  return { stream: found, norm: weighted ? node.module : null }
}

/** Whether an operation does the same to every basis: rows are multiplied, left out, or placed elsewhere. */
function keepsBasis(node: GraphNode, from: GraphNode): boolean {
  const { name, arguments: given } = node
  const last = from.shape.length - 1
  switch (name) {
    case 'affine':
      return given.offset === 0
    case 'cast':
      return true
    case 'view':
      return node.shape.at(-1) === from.shape.at(-1)
    case 'permute':
      return (given.axes as readonly number[]).at(-1) === last
    case 'slice':
      return given.axis !== -1 && given.axis !== last
    case 'mul':
    case 'where':
      return placesOf(node, from).length === 1 && Object.values(given).every((value) => isOfRows(value, from))
    default:
      return false
  }
}

/** Whether an argument is the tensor itself, 0, or one value a row. */
function isOfRows(value: unknown, from: GraphNode): boolean {
  if (!(value instanceof Reference)) return value === 0
  if (value.node === from) return true
  return value.node.name === 'expand' && value.node.inputs[0]?.shape.at(-1) === 1
}

function newStream(size: number, writer: string): Growing {
  const empty = { joined: null, readers: new Map(), norms: new Set<string>(), centred: false, obstacle: null }
  return { ...empty, size, writers: new Set([writer]) }
}

function root(stream: Growing): Growing {
  return stream.joined ? root(stream.joined) : stream
}

function read({ stream, norm }: Value, layer: string, node: GraphNode): void {
  const { readers } = root(stream)
  const known = readers.get(layer)
  if (known !== undefined && known !== norm) hinder(stream, node)
  readers.set(layer, norm)
}

function hinder(stream: Growing, { name, module }: GraphNode): void {
  root(stream).obstacle ??= `${name} of ${module || 'the model'} sees its channels one by one`
}

/** Weights of a normalization that no layer can take over. */
function scaled(stream: Growing, norm: string): void {
  root(stream).obstacle ??= `the weight of ${norm} multiplies its channels one by one`
}

/** Makes one stream of two. */
function join(a: Value, b: Value, node: GraphNode): void {
  const [into, from] = [root(a.stream), root(b.stream)]
  for (const { stream, norm } of [a, b]) if (norm !== null) scaled(stream, norm)
  if (into.size !== from.size) hinder(into, node)
  if (into === from) return
  from.joined = into
  for (const writer of from.writers) into.writers.add(writer)
  for (const [layer, norm] of from.readers) {
    if (into.readers.has(layer) && into.readers.get(layer) !== norm) hinder(into, node)
    into.readers.set(layer, norm)
  }
  for (const norm of from.norms) into.norms.add(norm)
  into.centred ||= from.centred
  into.obstacle ??= from.obstacle
}
