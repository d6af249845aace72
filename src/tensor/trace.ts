import { sameShape } from '../core/shape.ts'
import { Graph, GraphNode, type Held, nodesIn, type ValueType } from './graph.ts'
import { heldIn, mapHeld, Reference } from './held.ts'
import { interpreted, type Op } from './op.ts'
import { keep, scope } from './scope.ts'
import { changesSoFar, noGrad } from './tape.ts'
import { Tensor } from './tensor.ts'

/** What a trace has to know of whoever calls the operations. */
export interface Traced {
  /** The tensors that come from outside, by name. */
  readonly inputs: Readonly<Record<string, Tensor>>
  /** The path of a parameter or buffer; undefined of what is neither. */
  pathOf(held: Held): string | undefined
  /** The path of the module whose forward runs. */
  module(): string
}

/**
 * Runs `body`, and notes each operation that it calls, those inside operations left out, and those whose
 * values nothing reads. Nothing that it makes is left but what the graph holds.
 */
export function traced({ inputs, pathOf, module }: Traced, body: () => unknown): Graph {
  const references = new Map<unknown, Reference>()
  const nodes: GraphNode[] = []
  /** Operations that write, which run whether or not their values are read. */
  const writing = new Set<GraphNode>()
  const parameters = new Map<string, GraphNode>()
  const constants: GraphNode[] = []
  const inputNodes = Object.entries(inputs).map(([name, tensor]) => {
    const node = new GraphNode({ kind: 'input', name, outputs: [typeOf(tensor)] })
    references.set(tensor, new Reference(node))
    return node
  })
  /** The node of what comes from outside. */
  const outside = (held: Held): GraphNode => {
    const path = pathOf(held)
    if (path === undefined) {
      const name = `constant${constants.length}`
      const node = new GraphNode({ kind: 'constant', name, outputs: [typeOf(held)], held: shared(held) })
      constants.push(node)
      return node
    }
    const known = parameters.get(path)
    if (known) return known
    const node = new GraphNode({ kind: 'parameter', name: path, outputs: [typeOf(held)], held })
    parameters.set(path, node)
    return node
  }
  const referenceTo = (held: Held | Reference): Reference => {
    if (held instanceof Reference) return held
    const known = references.get(held) ?? new Reference(outside(held))
    references.set(held, known)
    return known
  }
  const note = (operation: Op, args: readonly never[]): unknown => {
    const referring = mapHeld(args, referenceTo) as readonly unknown[]
    const before = changesSoFar()
    const y = interpreted(null, () => operation(...args))
    const [held, ...others] = heldIn(y) as Held[]
    const same = others.length === 0 && heldIn(args).find((one) => isSame(one, held))
    if (same) references.set(held, referenceTo(same))
    else {
      const given = held ? [held, ...others] : []
      const outputs = given.map(typeOf)
      const node = new GraphNode({
        kind: 'operation',
        name: operation.name,
        module: module(),
        operation,
        args: referring,
        outputs,
      })
      nodes.push(node)
      if (outputs.length === 0 || changesSoFar() > before) writing.add(node)
      for (const [i, one] of given.entries()) references.set(one, new Reference(node, i))
    }
    return y
  }
  try {
    const output = noGrad(() => scope(() => ({ of: mapHeld(interpreted(note, body), referenceTo) }))).of
    const given = nodesIn(output)
    const read = readNodes(nodes, writing, given)
    const isRead = (node: GraphNode) => node.users.length > 0 || given.has(node)
    for (const constant of constants) if (!isRead(constant)) constant.held?.dispose()
    return new Graph({
      inputs: inputNodes,
      nodes: read,
      parameters: new Map([...parameters].filter(([, node]) => isRead(node))),
      constants: constants.filter(isRead),
      output,
    })
  } catch (error) {
    for (const { held } of constants) held?.dispose()
    throw error
  }
}

/** The operations that write, and those whose values something reads; the others feed no node any more. */
function readNodes(
  nodes: readonly GraphNode[],
  writing: ReadonlySet<GraphNode>,
  given: ReadonlySet<GraphNode>,
): GraphNode[] {
  const read: GraphNode[] = []
  for (const node of nodes.toReversed()) {
    if (node.users.length > 0 || writing.has(node) || given.has(node)) read.push(node)
    else for (const { users } of node.inputs) users.splice(users.indexOf(node), 1)
  }
  return read.reverse()
}

function typeOf(held: Held): ValueType {
  const { shape } = held
  if ('qtype' in held) return { shape, dtype: (held.qtype as { name: string }).name }
  return { shape, dtype: held instanceof Tensor ? held.dtype : '' }
}

/** A constant that lives as long as the graph does. */
function shared(held: Held): Held {
  return keep(held instanceof Tensor ? interpreted(null, () => held.detach()) : held)
}

/** Whether a view shows a tensor just as it is: `cast` and `view` where there was nothing to do. */
function isSame(x: unknown, y: unknown): boolean {
  if (!(x instanceof Tensor && y instanceof Tensor) || x.handlers || y.handlers || x.isMeta) return false
  if (x.dtype !== y.dtype || !sameShape(x.shape, y.shape)) return false
  return x.storage === y.storage && x.byteOffset === y.byteOffset
}
