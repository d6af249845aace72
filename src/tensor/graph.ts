import { DTypeError, ShapeError } from '../core/errors.ts'
import { inspect } from '../core/inspect.ts'
import { type Shape, sameShape, showShape } from '../core/shape.ts'
import { graphText } from './graphText.ts'
import { heldIn, mapHeld, Reference } from './held.ts'
import type { Op } from './op.ts'
import { type Owned, ownedIn, release, scope } from './scope.ts'
import { noGrad } from './tape.ts'
import { checkTensor, Tensor } from './tensor.ts'

/** A tensor, or something made of tensors: what flows through a graph. */
export interface Held extends Owned {
  readonly shape: Shape
}

/** What a value is: its shape, and its dtype or the name of its quantized type. */
export interface ValueType {
  readonly shape: Shape
  readonly dtype: string
}

/** One operation of a graph, or what feeds one from outside: an input, a parameter, a constant. */
export class GraphNode {
  readonly kind: 'input' | 'parameter' | 'constant' | 'operation'
  /** Of an operation, `softmax`; the path of a parameter, `fc.weight`; of others the name that is printed. */
  readonly name: string
  /** The path of the module whose `forward` called it; '' in the model's own, or outside of any. */
  readonly module: string
  readonly operation: Op | null
  /** The operation's arguments in their order, with references in the place of tensors. */
  readonly args: readonly unknown[]
  /** What it gives: mostly one value. */
  readonly outputs: readonly ValueType[]
  /** The nodes that feed it, each once, in the order of its arguments. */
  readonly inputs: readonly GraphNode[]
  /** The nodes that it feeds, in order. */
  readonly users: GraphNode[] = []
  /** What an input that is none of the graph's holds. */
  readonly held: Held | null

  constructor(
    facts: Pick<GraphNode, 'kind' | 'name' | 'outputs'> &
      Partial<Pick<GraphNode, 'module' | 'operation' | 'args' | 'held'>>,
  ) {
    this.kind = facts.kind
    this.name = facts.name
    this.outputs = facts.outputs
    this.module = facts.module ?? ''
    this.operation = facts.operation ?? null
    this.args = facts.args ?? []
    this.held = facts.held ?? null
    this.inputs = [...nodesIn(this.args)]
    for (const input of this.inputs) input.users.push(this)
  }

  /** The arguments by name, those in `options` among them; values of other nodes are references to them. */
  get arguments(): Record<string, unknown> {
    const named = this.args.map((value, i): [string, unknown] => [
      this.operation?.parameters[i] ?? `${i}`,
      value,
    ])
    const flat = named.flatMap(([name, value]) =>
      name === 'options' ? Object.entries(value ?? {}) : [[name, value]],
    )
    return Object.fromEntries(flat.filter(([, value]) => value !== undefined))
  }

  /** The arguments that are no tensors, by name: `{ axis: -1 }`. */
  get attributes(): Record<string, unknown> {
    return Object.fromEntries(Object.entries(this.arguments).filter(([, value]) => nodesIn(value).size === 0))
  }

  /** Its shape; of the first value where it gives several. */
  get shape(): Shape {
    return this.outputs[0]?.shape ?? []
  }

  /** Its dtype, or the name of its quantized type. */
  get dtype(): string {
    return this.outputs[0]?.dtype ?? ''
  }
}

/** The nodes that a value refers to. */
export function nodesIn(value: unknown): Set<GraphNode> {
  return new Set(heldIn(value).flatMap((one) => (one instanceof Reference ? [one.node] : [])))
}

/**
 * What a model computes, operation by operation, as `trace` saw it: named operations with their arguments,
 * and who feeds whom. It prints readably, and runs again on inputs of the same shapes. It shares the
 * parameters with the model.
 */
export class Graph {
  readonly inputs: readonly GraphNode[]
  /** The operations, in an order in which they can run. */
  readonly nodes: readonly GraphNode[]
  /** The parameters and buffers that are used, by path. */
  readonly parameters: ReadonlyMap<string, GraphNode>
  /** Tensors that are neither: tables that the model made for itself. */
  readonly constants: readonly GraphNode[]
  /** What the model gives, as it gives it, with references in the place of tensors. */
  readonly output: unknown
  /** The nodes of what it gives. */
  private readonly given: ReadonlySet<GraphNode>
  /** What is used last by each operation. */
  private readonly lastUsed: ReadonlyMap<GraphNode, readonly GraphNode[]>

  constructor(parts: Pick<Graph, 'inputs' | 'nodes' | 'parameters' | 'constants' | 'output'>) {
    this.inputs = parts.inputs
    this.nodes = parts.nodes
    this.parameters = parts.parameters
    this.constants = parts.constants
    this.output = parts.output
    this.given = nodesIn(this.output)
    const last = new Map<GraphNode, GraphNode[]>(this.nodes.map((node) => [node, []]))
    for (const node of this.nodes) if (!this.given.has(node)) last.get(node.users.at(-1) ?? node)?.push(node)
    this.lastUsed = last
  }

  /**
   * Runs the operations again, on inputs in the order of the model's.
   * @returns what the model gave, of the same form
   * @throws ShapeError or DTypeError unless there are as many inputs, of the same shapes and dtypes
   */
  run(...inputs: Tensor[]): unknown {
    this.checkInputs(inputs)
    return noGrad(() =>
      scope(() => {
        const values = new Map<GraphNode, readonly unknown[]>()
        for (const [i, node] of this.inputs.entries()) values.set(node, [inputs[i]])
        const heldBy = (one: unknown) =>
          one instanceof Reference ? (values.get(one.node)?.[one.output] ?? one.node.held) : one
        for (const node of this.nodes) {
          const given = heldIn(node.operation?.(...(mapHeld(node.args, heldBy) as never[])))
          const users = node.users.length + (this.given.has(node) ? 1 : 0)
          for (const one of given) if (one instanceof Tensor) one.usedBy(users)
          values.set(node, given)
          for (const used of this.lastUsed.get(node) ?? []) {
            for (const owned of ownedIn(values.get(used))) release(owned)
            values.delete(used)
          }
        }
        return mapHeld(this.output, heldBy)
      }),
    )
  }

  /** @throws ShapeError or DTypeError unless the inputs are as `run` takes them */
  checkInputs(inputs: readonly Tensor[]): void {
    if (inputs.length !== this.inputs.length)
      throw new ShapeError(`run: the graph takes ${this.inputs.length} inputs; received ${inputs.length}`)
    for (const [i, node] of this.inputs.entries()) {
      checkTensor('run', node.name, inputs[i])
      const { shape, dtype } = inputs[i]
      if (!sameShape(shape, node.shape))
        throw new ShapeError(
          `run: ${node.name} must be ${showShape(node.shape)}; received ${showShape(shape)}`,
        )
      if (dtype !== node.dtype)
        throw new DTypeError(`run: ${node.name} must be ${node.dtype}; received ${dtype}`)
    }
  }

  /** The operations of a name, such as `linear`. */
  find(name: string): GraphNode[] {
    return this.nodes.filter((node) => node.name === name)
  }

  /** Lets go of the constants. */
  dispose(): void {
    for (const { held } of this.constants) held?.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  /** One line an operation: `%5 = linear(%3, weight=fc.weight) [1,16,64] float32`. */
  toString(): string {
    return graphText(this)
  }

  [inspect](): string {
    return this.toString()
  }
}
