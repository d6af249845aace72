import { type GroupWeight, groupedLinear } from '../qtensor/groupedLinear.ts'
import {
  add,
  belowTopK,
  cast,
  combineRows,
  embedding,
  expand,
  groupRows,
  maskedFill,
  mul,
  sigmoid,
  slice,
  softmax,
  topK,
} from '../tensor/ops/index.ts'
import { scope } from '../tensor/scope.ts'
import { needsGrad } from '../tensor/tape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { Block, type BlockNames } from './block.ts'
import type { LinearLike, MLPLike } from './layerLike.ts'
import { Linear } from './linear.ts'
import type { ExpertLike } from './mlp.ts'
import { QLinear } from './qlinear.ts'

/** Scores experts, or gates one. It is a `Linear` that is quantized only where its class is named. */
export class Router extends Linear {}

/** What a mixture of experts consists of; the order in which they are given is that of its paths. */
export interface ExpertsParts {
  /** [..., hidden] → [..., experts], a score for each. */
  router: LinearLike
  experts: readonly ExpertLike[]
  /** Sees every token. */
  shared?: MLPLike
  /** [..., hidden] → [..., 1]; its sigmoid multiplies what `shared` gives. */
  sharedGate?: LinearLike
}

/** Which experts a token goes to. */
export interface ExpertsOptions {
  /** How many: those with the highest scores. */
  perToken: number
  /**
   * Whether the weights of a token's experts are the softmax of their scores, and sum to 1; else they are
   * what the softmax of all scores gives them.
   */
  normalized: boolean
}

/**
 * y = Σ weight · expert(x) over the experts that a router chooses for each token, and a shared one's output.
 *
 * Rows are brought together by expert on the device, which reads itself how many each has: every projection
 * is one product an expert, which does nothing where no row goes there. So a step may be recorded once.
 * Source: Shazeer et al., "Outrageously Large Neural Networks", 2017; Jiang et al., "Mixtral of Experts",
 * 2024.
 */
export class Experts extends Block<keyof ExpertsParts> {
  declare readonly router: LinearLike
  declare readonly experts: readonly ExpertLike[]
  declare readonly shared?: MLPLike
  declare readonly sharedGate?: LinearLike
  private readonly options: ExpertsOptions

  constructor(parts: ExpertsParts, options: ExpertsOptions, names: BlockNames<keyof ExpertsParts>) {
    super(names)
    Object.assign(this, parts)
    this.options = options
  }

  /** x [..., hidden] → [..., hidden] */
  forward(x: Tensor): Tensor {
    const hidden = x.size(-1)
    return scope(() => {
      const rows = x.view([x.numel / hidden, hidden])
      const scores = this.router.forward(rows)
      const y = this.canGroup(rows, scores) ? this.grouped(rows, scores) : this.oneByOne(rows, scores)
      return (this.shared ? add(y, this.sharedOutput(rows, this.shared)) : y).view(x.shape)
    })
  }

  private sharedOutput(rows: Tensor, shared: MLPLike): Tensor {
    const y = shared.forward(rows)
    return this.sharedGate ? mul(y, expand(sigmoid(this.sharedGate.forward(rows)), y.shape)) : y
  }

  /** rows [M, hidden], scores [M, experts] → [M, hidden] */
  private grouped(rows: Tensor, scores: Tensor): Tensor {
    const { perToken, normalized } = this.options
    const [values, chosen] = topK(normalized ? scores : softmax(scores), perToken)
    const { rows: order, places, bounds } = groupRows(chosen, this.experts.length)
    const y = this.experts[0].compute(embedding(rows, order), (part, x) =>
      groupedLinear(
        x,
        this.experts.map((expert) => groupWeight(Reflect.get(expert, part))),
        bounds,
      ),
    )
    return combineRows(y, places, normalized ? softmax(values) : values)
  }

  /**
   * The same expert by expert, all of them, each with rows of zeros for those that are not its own: what
   * watchers, gradients and quantized activations take.
   */
  private oneByOne(rows: Tensor, scores: Tensor): Tensor {
    const { perToken, normalized } = this.options
    const others = belowTopK(scores, perToken)
    const weights = normalized
      ? softmax(maskedFill(scores, others, -Infinity))
      : maskedFill(softmax(scores), others, 0)
    const terms = this.experts.map((expert, e) => {
      const column = (x: Tensor) => expand(slice(x, 1, e, e + 1), rows.shape)
      return mul(expert.forward(maskedFill(rows, column(others), 0)), column(weights))
    })
    return terms.reduce((sum, term) => add(sum, term))
  }

  /** Whether nothing has to see the experts one by one. */
  private canGroup(...inputs: Tensor[]): boolean {
    return (
      !inputs.some(needsGrad) &&
      this.experts.every(
        (expert) =>
          !Object.hasOwn(expert, 'forward') && [...expert.children()].every(([, layer]) => isPlain(layer)),
      )
    )
  }
}

/** Whether a layer does nothing but multiply its weight: it has no watchers, gradients or scales of inputs. */
function isPlain(layer: object): boolean {
  if (Object.hasOwn(layer, 'forward')) return false
  if (layer.constructor === Linear) {
    const { weight, bias } = layer as Linear
    return !needsGrad(weight) && !needsGrad(bias)
  }
  if (layer.constructor !== QLinear) return false
  const { frozen, activations, computeDtype, bias } = layer as QLinear
  return frozen && !activations && computeDtype !== 'int8Outliers' && !needsGrad(bias)
}

function groupWeight(layer: Linear | QLinear): GroupWeight {
  const { weight, bias } = layer
  const computeDtype = ('computeDtype' in layer && layer.computeDtype) || 'float32'
  return { weight, bias: bias && cast(bias, 'float32'), computeDtype }
}
