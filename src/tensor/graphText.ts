import { showShape } from '../core/shape.ts'
import type { Graph, GraphNode, ValueType } from './graph.ts'
import { Reference } from './held.ts'

/** A graph as text: its inputs, a line for each operation, and what it gives. */
export function graphText(graph: Graph): string {
  const names = new Map<GraphNode, string>()
  for (const node of [...graph.inputs, ...graph.constants]) names.set(node, `%${node.name}`)
  for (const node of graph.parameters.values()) names.set(node, node.name)
  for (const [index, node] of graph.nodes.entries()) names.set(node, `%${index}`)
  const show = (value: unknown) => valueText(value, names)
  const inputs = graph.inputs.map((node) => `${names.get(node)} ${typesText(node.outputs)}`)
  return [
    `graph(${inputs.join(', ')})`,
    ...graph.constants.map((node) => `  ${names.get(node)} = constant ${typesText(node.outputs)}`),
    ...graph.nodes.map((node) => `  ${nodeText(node, names.get(node) ?? '', show)}`),
    `  return ${show(graph.output)}`,
  ].join('\n')
}

function nodeText(node: GraphNode, name: string, show: (value: unknown) => string): string {
  let positional = true
  const args: string[] = []
  for (const [parameter, value] of Object.entries(node.arguments)) {
    if (value === null) continue
    const text = show(value)
    // What comes from other operations stands in front, as in a call.
    positional &&= text.startsWith('%') || text.startsWith('[%')
    args.push(positional ? text : `${parameter}=${text}`)
  }
  const call = `${node.name}(${args.join(', ')})`
  const where = node.module === '' ? '' : `  # ${node.module}`
  return node.outputs.length === 0
    ? `${call}${where}`
    : `${name} = ${call} ${typesText(node.outputs)}${where}`
}

function typesText(types: readonly ValueType[]): string {
  return types.map(({ shape, dtype }) => `${showShape(shape)} ${dtype}`).join(', ')
}

function valueText(value: unknown, names: ReadonlyMap<GraphNode, string>): string {
  if (value instanceof Reference) {
    const several = value.node.outputs.length > 1 ? `.${value.output}` : ''
    return `${names.get(value.node) ?? '%?'}${several}`
  }
  if (Array.isArray(value)) return `[${value.map((one) => valueText(one, names)).join(', ')}]`
  if (typeof value === 'function') return value.name || 'function'
  if (typeof value !== 'object' || value === null) return String(value)
  if ('name' in value && typeof value.name === 'string') return value.name
  if (Object.getPrototypeOf(value) !== Object.prototype) return value.constructor.name
  const entries = Object.entries(value).map(([name, one]) => `${name}: ${valueText(one, names)}`)
  return `{${entries.join(', ')}}`
}
