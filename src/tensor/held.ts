import type { GraphNode, Held } from './graph.ts'

/** A value of a graph: what a node gives. */
export class Reference {
  readonly node: GraphNode
  /** Which of the values that the node gives. */
  readonly output: number

  constructor(node: GraphNode, output = 0) {
    this.node = node
    this.output = output
  }
}

/** Whether a value is a tensor, or made of tensors as a quantized one is. */
export function isHeld(value: unknown): value is Held {
  return typeof value === 'object' && value !== null && 'shape' in value && 'dispose' in value
}

/**
 * A value with `f` of every tensor and reference in the place of that: alone, in lists and in plain objects
 * at any depth. What holds none of them stays the very same.
 */
export function mapHeld(value: unknown, f: (one: Held | Reference) => unknown): unknown {
  if (value instanceof Reference || isHeld(value)) return f(value)
  if (Array.isArray(value)) {
    const mapped = value.map((one: unknown) => mapHeld(one, f))
    return mapped.every((one, i) => one === value[i]) ? value : mapped
  }
  if (typeof value !== 'object' || value === null) return value
  if (Object.getPrototypeOf(value) !== Object.prototype) return value
  const entries = Object.entries(value)
  const mapped = entries.map(([name, one]) => [name, mapHeld(one, f)] as const)
  return mapped.every(([, one], i) => one === entries[i][1]) ? value : Object.fromEntries(mapped)
}

/** The tensors and references in a value, in their order. */
export function heldIn(value: unknown): (Held | Reference)[] {
  const found: (Held | Reference)[] = []
  mapHeld(value, (one) => {
    found.push(one)
    return one
  })
  return found
}
