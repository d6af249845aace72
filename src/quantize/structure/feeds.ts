import type { Module } from '../../nn/module.ts'
import { type Graph, type GraphNode, nodesIn } from '../../tensor/graph.ts'
import { Reference } from '../../tensor/held.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { type Channels, carry, ownChannels, placesOf } from './channels.ts'
import { isMultiplier, type Multiplier } from './multiplier.ts'

/*
 * Who feeds whom, as the graph of a model shows it. A channel of a normalization's output, or of a layer's,
 * may be divided by a factor where all that takes it is layers whose weights are multiplied by that factor:
 * the model computes the same. No class of the model's blocks is known here; a factor is followed through the
 * operations, so that every Module that `trace` sees is served.
 */

/** What gives channels, and the layers that take them. */
export interface Feed {
  /** The path of a normalization, or of a layer that multiplies a weight. */
  readonly from: string
  /** The paths of all layers that take the channels, in the order of their calls; they take nothing else. */
  readonly to: readonly string[]
  /** For each column of the layers' weights the channel of what `from` gives. */
  readonly channels: Int32Array
}

/** The modules of a model as the graph of one pass through it shows them. */
export class Structure {
  readonly graph: Graph
  readonly modules: ReadonlyMap<string, Module>
  /** Layers that multiply a matrix no other module holds, and take one tensor, by path. */
  readonly multipliers: ReadonlyMap<string, Multiplier>
  private readonly given: ReadonlySet<GraphNode>

  constructor(model: Module, graph: Graph) {
    this.graph = graph
    this.modules = new Map(model.namedModules())
    this.given = nodesIn(graph.output)
    const tied = tiedTensors(this.modules)
    const own = [...this.modules].flatMap(([path, module]): [string, Multiplier][] =>
      isMultiplier(module) && !tied.has(module.weight) && this.inputsOf(path).size === 1
        ? [[path, module]]
        : [],
    )
    this.multipliers = new Map(own)
  }

  /** What gives channels and who takes them, in the order of the calls. */
  feeds(): Feed[] {
    const found = new Map<string, Feed>()
    for (const path of new Set(this.graph.nodes.map(({ module }) => module))) {
      if (!this.multipliers.has(path) && !this.isNorm(path)) continue
      // What multiplies two sets of channels takes its factors from the later one, the values of a gate.
      for (const feed of this.feedsFrom(path)) found.set(feed.to.join(), feed)
    }
    const owner = new Map([...found.values()].flatMap((feed) => feed.to.map((layer) => [layer, feed])))
    return [...found.values()].filter((feed) => feed.to.every((layer) => owner.get(layer) === feed))
  }

  /** Layers whose products become queries or keys: the scores of an attention see them. */
  scoring(): Set<string> {
    const found = new Set<string>()
    const seen = new Set<GraphNode>()
    const visit = (node: GraphNode) => {
      if (seen.has(node)) return
      seen.add(node)
      if (this.multipliers.has(node.module)) found.add(node.module)
      else for (const input of node.inputs) visit(input)
    }
    for (const attention of this.graph.find('attention'))
      for (const input of attention.inputs)
        if (placesOf(attention, input).some((place) => place === 'q' || place === 'k')) visit(input)
    return found
  }

  /** What a module gives to others. */
  outputsOf(path: string): GraphNode[] {
    return this.graph.nodes.filter(
      (node) =>
        node.module === path && (this.given.has(node) || node.users.some(({ module }) => module !== path)),
    )
  }

  /** Whether a module's output is a normalization whose channels have weights of its own. */
  isNorm(path: string): boolean {
    const weight: unknown = Reflect.get(this.modules.get(path) ?? {}, 'weight')
    const outputs = this.outputsOf(path)
    return (
      weight instanceof Tensor &&
      weight.shape.length === 1 &&
      outputs.length > 0 &&
      outputs.every(
        ({ name, arguments: { weight } }) =>
          (name === 'rmsNorm' || name === 'layerNorm') && weight instanceof Reference,
      )
    )
  }

  /** Whether the model gives it. */
  isGiven(node: GraphNode): boolean {
    return this.given.has(node)
  }

  /** The layers that take all that a module gives, and which channels; those that something else takes are blocked. */
  readers(path: string): { layers: Map<string, Channels>; blocked: Set<number> } {
    const layers = new Map<string, Channels>()
    const blocked = new Set<number>()
    const block = ({ at }: Channels) => {
      for (const channel of at) blocked.add(channel)
    }
    const follow = (node: GraphNode, channels: Channels) => {
      if (this.given.has(node)) block(channels)
      for (const user of node.users) {
        if (this.multipliers.has(user.module) && user.module !== path) {
          if (String(channels.axes) === `${node.shape.length - 1}`) layers.set(user.module, channels)
          else block(channels)
          continue
        }
        const carried = carry(user, node, channels)
        if (carried) follow(user, carried)
        else block(channels)
      }
    }
    for (const output of this.outputsOf(path)) follow(output, ownChannels(output))
    return { layers, blocked }
  }

  private feedsFrom(from: string): Feed[] {
    const { layers, blocked } = this.readers(from)
    const groups = new Map<string, { to: string[]; channels: Int32Array }>()
    for (const [path, { at: channels }] of layers) {
      const key = channels.join()
      groups.set(key, { to: [...(groups.get(key)?.to ?? []), path], channels })
    }
    const takers = new Map<number, Int32Array>()
    for (const { channels } of groups.values())
      for (const channel of channels) {
        // A channel that two columns take, as of heads that share values, has one factor where they want two.
        if (takers.has(channel)) blocked.add(channel)
        takers.set(channel, channels)
      }
    return [...groups.values()].flatMap(({ to, channels }) =>
      channels.some((channel) => blocked.has(channel)) ? [] : [{ from, to, channels }],
    )
  }

  /** What a module takes from others beside parameters. */
  private inputsOf(path: string): Set<GraphNode> {
    const within = this.graph.nodes.filter(({ module }) => module === path)
    return new Set(
      within.flatMap(({ inputs }) =>
        inputs.filter(({ kind, module }) => kind === 'input' || (kind === 'operation' && module !== path)),
      ),
    )
  }
}

/** Tensors that more than one module holds. */
function tiedTensors(modules: ReadonlyMap<string, Module>): Set<unknown> {
  const holders = new Map<unknown, number>()
  for (const module of modules.values())
    for (const [, tensor] of module.ownTensors()) holders.set(tensor, (holders.get(tensor) ?? 0) + 1)
  return new Set([...holders].flatMap(([tensor, count]) => (count > 1 ? [tensor] : [])))
}
