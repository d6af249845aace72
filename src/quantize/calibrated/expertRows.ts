import { Experts } from '../../nn/experts.ts'
import type { Module } from '../../nn/module.ts'
import type { Observation } from '../../nn/observe.ts'
import { clamp, expand, mul } from '../../tensor/ops/index.ts'
import { reduce } from '../../tensor/ops/reduce.ts'
import { keep, scope } from '../../tensor/scope.ts'
import { noGrad } from '../../tensor/tape.ts'
import { Tensor } from '../../tensor/tensor.ts'

/**
 * Which rows an expert is sent. Watched, experts take all rows, with zeros for those that are not theirs; a
 * bias makes something else of them on their way.
 */
export class ExpertRows {
  readonly path: string
  /** The path of the mixture. */
  readonly of: string
  /** [M] float32 of the pass that runs: 1 where a row is the expert's, else 0. */
  private mine: Tensor | null = null

  constructor(path: string, of: string) {
    this.path = path
    this.of = of
  }

  /** Hears what the expert takes. */
  watch(expert: Module): Observation {
    const end = expert.observe({
      input: ([x]) => {
        this.mine?.dispose()
        if (x instanceof Tensor) this.mine = keep(noGrad(() => scope(() => notZero(x))))
      },
    })
    const both = () => {
      end()
      this.mine?.dispose()
      this.mine = null
    }
    return Object.assign(both, { [Symbol.dispose]: both })
  }

  /** rows [M, K] with zeros for what is not the expert's, and how many are, [1]; of the running scope. */
  only(rows: Tensor): [rows: Tensor, count: Tensor] {
    const mine = this.mine as Tensor
    return [
      mul(rows, expand(mine.view([mine.numel, 1]), rows.shape)),
      reduce('sum', mine.view([1, mine.numel])),
    ]
  }
}

/** The experts of a model, and for each layer in them which expert it is of. */
export function expertsOf(model: Module): {
  experts: Map<Module, ExpertRows>
  byLayer: Map<Module, ExpertRows>
} {
  const experts = new Map<Module, ExpertRows>()
  const byLayer = new Map<Module, ExpertRows>()
  for (const [path, module] of model.namedModules()) {
    if (!(module instanceof Experts)) continue
    const paths = new Map([...module.namedModules()].map(([name, part]) => [part, name]))
    for (const expert of module.experts) {
      const rows = new ExpertRows([path, paths.get(expert)].filter((part) => part).join('.'), path)
      experts.set(expert, rows)
      for (const [, layer] of expert.namedModules()) byLayer.set(layer, rows)
    }
  }
  return { experts, byLayer }
}

/** 1 for each row of x [..., K] that holds something, else 0. */
function notZero(x: Tensor): Tensor {
  const cols = x.size(-1)
  return clamp(mul(reduce('absmax', x.view([x.numel / cols, cols])), 1e38), 0, 1)
}
