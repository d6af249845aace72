import type { GraphNode } from '../../tensor/graph.ts'
import { Reference } from '../../tensor/held.ts'

/** Where the channels that a module gives are in a tensor. */
export interface Channels {
  /** The axes along which they lie, in order; along the others all values of a channel are alike placed. */
  readonly axes: readonly number[]
  /** The channel at each place along the axes, the last axis fastest. */
  readonly at: Int32Array
  /** The size of the heads that an attention gave them in; null before one. */
  readonly headSize: number | null
  /** Whether they were only moved on their way, so that each head may be turned. */
  readonly onlyMoved: boolean
}

/** The channels of what a module gives, at its last axis. */
export function ownChannels({ shape }: GraphNode): Channels {
  const at = Int32Array.from({ length: shape.at(-1) ?? 0 }, (_, channel) => channel)
  return { axes: [shape.length - 1], at, headSize: null, onlyMoved: true }
}

/** The channels in what an operation gives; null where one is not multiplied as its input is. */
type Carry = (node: GraphNode, from: GraphNode, channels: Channels) => Channels | null

const same: Carry = (_node, _from, channels) => channels

/** The same where `from` is one of these arguments alone. */
const only =
  (...names: string[]): Carry =>
  (node, from, channels) => {
    const places = placesOf(node, from)
    return places.length === 1 && names.includes(places[0]) ? channels : null
  }

/**
 * How operations pass a factor of a channel on. Whatever is not here does something else with it: the factor
 * of a channel cannot be moved through.
 */
const carries: Readonly<Record<string, Carry>> = {
  relu: same,
  leakyRelu: same,
  dropout: same,
  cast: same,
  affine: (node, _from, channels) => (node.arguments.offset === 0 ? channels : null),
  mul: (node, from, channels) =>
    from.shape.length === node.shape.length ? only('a', 'b')(node, from, channels) : null,
  siluMul: only('up'),
  where: (node, from, channels) => {
    const [other] = placesOf(node, from).map((place) => (place === 'a' ? 'b' : 'a'))
    return node.arguments[other] === 0 ? only('a', 'b')(node, from, channels) : null
  },
  view: viewed,
  permute: permuted,
  slice: sliced,
  attention: attended,
}

/** The channels in what `node` makes of `from`; null where a factor does not pass. */
export function carry(node: GraphNode, from: GraphNode, channels: Channels): Channels | null {
  const carried = carries[node.name]?.(node, from, channels) ?? null
  return carried && !moves.has(node.name) ? { ...carried, onlyMoved: false } : carried
}

const moves: ReadonlySet<string> = new Set(['view', 'permute', 'slice', 'cast', 'attention'])

/** The names of the arguments that are what a node gives. */
export function placesOf(node: GraphNode, from: GraphNode): string[] {
  return Object.entries(node.arguments).flatMap(([name, value]) =>
    value instanceof Reference && value.node === from ? [name] : [],
  )
}

const product = (sizes: readonly number[]) => sizes.reduce((a, b) => a * b, 1)

/** The last axes, of as many values as the channels' axes have, which are the last, too. */
function viewed(node: GraphNode, from: GraphNode, channels: Channels): Channels | null {
  const { axes, at } = channels
  if (axes[0] !== from.shape.length - axes.length) return null
  let first = node.shape.length
  while (first > 0 && product(node.shape.slice(first)) < at.length) first--
  if (product(node.shape.slice(first)) !== at.length) return null
  return { ...channels, axes: node.shape.map((_, axis) => axis).slice(first) }
}

function permuted(node: GraphNode, _from: GraphNode, channels: Channels): Channels | null {
  const order = node.arguments.axes as readonly number[]
  const moved = channels.axes.map((axis) => order.indexOf(axis))
  return moved.every((axis, i) => i === 0 || moved[i - 1] < axis) ? { ...channels, axes: moved } : null
}

function sliced(node: GraphNode, from: GraphNode, channels: Channels): Channels | null {
  const { axes } = channels
  const { axis, start, step = 1 } = node.arguments as { axis: number; start: number; step?: number }
  const sliced = axis < 0 ? axis + from.shape.length : axis
  const place = axes.indexOf(sliced)
  if (place < 0) return channels
  const size = from.shape[sliced]
  const inner = product(axes.slice(place + 1).map((other) => from.shape[other]))
  const first = start < 0 ? start + size : start
  const at = channels.at.filter((_, i) => {
    const index = (Math.floor(i / inner) % size) - first
    return index >= 0 && index % step === 0 && index / step < node.shape[sliced]
  })
  return { ...channels, at }
}

/** Values [B, KV, T, D] become [B, T, H, D]: as many heads of queries in a row take the same. */
function attended(node: GraphNode, from: GraphNode, channels: Channels): Channels | null {
  const { axes, at: values } = channels
  const [, KV, , D] = from.shape
  const [place, ...others] = placesOf(node, from)
  if (place !== 'v' || others.length > 0 || values.length !== KV * D) return null
  if (!axes.every((axis) => axis === 1 || axis === 3)) return null
  const H = node.shape[2]
  const shared = H / KV
  const at = Int32Array.from({ length: H * D }, (_, i) => {
    const head = Math.floor(Math.floor(i / D) / shared)
    return values[head * D + (i % D)]
  })
  return { ...channels, axes: [2, 3], at, headSize: D }
}
