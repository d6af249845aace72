import { asDType } from '../core/dtype.ts'
import type { CommandList } from '../devices/commandList.ts'
import type { Device } from '../devices/device.ts'
import type { Graph } from './graph.ts'
import { mapHeld } from './held.ts'
import { keep, ownedIn, scope } from './scope.ts'
import { noGrad } from './tape.ts'
import { copyTo, Tensor } from './tensor.ts'

/**
 * A graph as one kept command list, with buffers of its own: a call copies the inputs there, queues the list
 * whole, and copies what the model gives.
 */
export class CompiledGraph {
  readonly graph: Graph
  private readonly inputs: readonly Tensor[]
  private readonly output: unknown
  private readonly list: CommandList

  /** The graph is its own from now on, and is disposed if it cannot be compiled. */
  constructor(graph: Graph, device: Device) {
    const inputs: Tensor[] = []
    try {
      for (const { shape, dtype } of graph.inputs)
        inputs.push(keep(Tensor.empty(device, shape, asDType(dtype))))
      const { list, result } = device.capture(() => scope(() => keep(computed(graph.run(...inputs)))))
      this.graph = graph
      this.inputs = inputs
      this.list = list
      this.output = result
    } catch (error) {
      for (const input of inputs) input.dispose()
      graph.dispose()
      throw error
    }
  }

  /** How many kernels a call runs. */
  get length(): number {
    return this.list.length
  }

  /**
   * What the model gives for these inputs, as `graph.run`; queued as one call.
   * @throws ShapeError or DTypeError unless there are as many inputs, of the same shapes and dtypes
   */
  run(...inputs: Tensor[]): unknown {
    this.graph.checkInputs(inputs)
    return noGrad(() => {
      for (const [i, input] of inputs.entries()) copyTo(input, this.inputs[i])
      this.list.run()
      return mapHeld(this.output, (one) => (one instanceof Tensor ? one.clone() : one))
    })
  }

  /** Gives its buffers back. */
  dispose(): void {
    const parameters = new Set<unknown>([...this.graph.parameters.values()].map(({ held }) => held))
    for (const owned of [...this.inputs, ...ownedIn(this.output)]) if (!parameters.has(owned)) owned.dispose()
    this.list.dispose()
    this.graph.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** The same, with nothing left to be computed when it is read. */
function computed(output: unknown): unknown {
  return mapHeld(output, (one) => (one instanceof Tensor ? one.computed() : one))
}
