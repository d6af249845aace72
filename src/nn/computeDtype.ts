import type { ComputeDType } from '../qtensor/computeDtype.ts'
import { computedDtype } from '../qtensor/product.ts'
import type { Module } from './module.ts'
import { QWeightModule } from './qmodule.ts'

/** In which precision a call computes products with quantized weights. */
export interface Computation {
  /**
   * What the call was asked for, for every layer; absent: what each was set to (`setComputeDtype`, a recipe).
   */
  asked?: ComputeDType
  /** For layers that were not set either. */
  usual: ComputeDType
}

/** Runs a body, which must be synchronous, in some precision. */
export type Compute = <R>(body: () => R) => R

/**
 * What runs a body with the layers of a model computing so, and puts back what they were set to: what others
 * compute with the model between two of its calls is not touched.
 */
export function computeIn(model: Module, { asked, usual }: Computation): Compute {
  const modules = layersOf(model)
  return (body) => {
    const before = modules.map(({ computeDtype }) => computeDtype)
    for (const module of modules) module.computeDtype = asked ?? module.computeDtype ?? usual
    try {
      return body()
    } finally {
      for (const [i, module] of modules.entries()) module.computeDtype = before[i]
    }
  }
}

/** What a model computes in, then: float32, unless some of its products run in another precision. */
export function computedIn(model: Module, { asked, usual }: Computation): ComputeDType {
  const dtypes = layersOf(model)
    // Others look rows up, or compute on floats.
    .filter((module) => module.inputQuantized)
    .map(({ weights, computeDtype }) => computedDtype(weights, asked ?? computeDtype ?? usual))
  return dtypes.find((dtype) => dtype !== 'float32') ?? 'float32'
}

function layersOf(model: Module): QWeightModule[] {
  return [...model.namedModules()]
    .map(([, module]) => module)
    .filter((module) => module instanceof QWeightModule)
}
