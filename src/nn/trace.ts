import { DeviceError, ShapeError } from '../core/errors.ts'
import { aList, check } from '../core/kinds.ts'
import { CompiledGraph } from '../tensor/compiled.ts'
import type { Graph, Held } from '../tensor/graph.ts'
import { heldIn } from '../tensor/held.ts'
import { Tensor } from '../tensor/tensor.ts'
import { traced } from '../tensor/trace.ts'
import { aModule, type Module } from './module.ts'
import type { Observation } from './observe.ts'
import { QWeightModule } from './qmodule.ts'

/**
 * The graph of `model.forward(...exampleInputs)`: what the model computes, operation by operation.
 *
 *     const graph = trace(model, [images])
 *     console.log(String(graph))
 *     graph.find('conv2d').map((node) => node.inputs)
 *     const y = graph.run(otherImages)
 *
 * Tensors among the inputs are those of the graph; whatever else `forward` decides by, shapes and options
 * included, stays as it was. It runs once, in the mode that the model is in; no gradient passes.
 * @throws ShapeError unless the model has a `forward`, and a tensor is among the inputs
 */
export function trace(model: Module, exampleInputs: readonly unknown[]): Graph {
  check('trace', 'model', model, aModule)
  check('trace', 'exampleInputs', exampleInputs, aList)
  const forward: unknown = Reflect.get(model, 'forward')
  if (typeof forward !== 'function')
    throw new ShapeError(`trace: the model must have forward(…); ${model.typeName} has none`)
  const paths = new Map<Held, string>()
  for (const [path, tensor] of model.namedTensors()) if (!paths.has(tensor)) paths.set(tensor, path)
  const within: string[] = []
  const observations: Observation[] = []
  const inputs = heldIn(exampleInputs).filter((input) => input instanceof Tensor)
  if (inputs.length === 0) throw new ShapeError('trace: exampleInputs must hold a tensor; received none')
  try {
    for (const [path, module] of model.namedModules())
      observations.push(module.observe({ input: () => within.push(path), output: () => within.pop() }))
    return traced(
      {
        inputs: Object.fromEntries(inputs.map((input, i) => [`input${i}`, input])),
        pathOf: (held) => paths.get(held),
        module: () => within.at(-1) ?? '',
      },
      () => Reflect.get(model, 'forward').call(model, ...exampleInputs),
    )
  } finally {
    for (const end of observations) end()
  }
}

/**
 * `model.forward(...exampleInputs)` as one kept command list, which runs again on other inputs of the same
 * shapes: what a forward pass costs JavaScript is paid once.
 *
 *     using compiled = compile(model, [image])
 *     const y = compiled.run(otherImage)
 *
 * Parameters that change in place are seen, those that are replaced are not: compile again after `quantize`
 * or `freeze`. A weight that is quantized but not frozen is quantized anew in each run.
 * @throws ShapeError as `trace`; DeviceError where `forward`, or the quantizer of a weight that is not
 * frozen, brings numbers of the host, as those of nf4 and fp4 do
 */
export function compile(model: Module, exampleInputs: readonly unknown[]): CompiledGraph {
  const graph = trace(model, exampleInputs)
  const [input] = heldIn(exampleInputs).filter((one) => one instanceof Tensor)
  try {
    return new CompiledGraph(graph, input.device)
  } catch (error) {
    if (error instanceof DeviceError && hasUnfrozen(model))
      throw new DeviceError(`compile: ${error.message}; freeze the model first`)
    throw error
  }
}

/** Whether each pass quantizes a weight anew. */
function hasUnfrozen(model: Module): boolean {
  return [...model.namedModules()].some(([, module]) => module instanceof QWeightModule && !module.frozen)
}
