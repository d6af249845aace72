import { type Module, type Parameter, parentPath } from '../../nn/module.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import type { CalibratedLayer } from './algorithm.ts'
import type { CalibratedReport } from './solveStage.ts'

/** What became of a stage: the tensors that are others since, by path, and the reports of its layers. */
export interface FinishedStage {
  readonly tensors: ReadonlyMap<string, Parameter>
  readonly reports: readonly CalibratedReport[]
}

/** Where finished stages are kept, so that a run that was killed goes on behind them. */
export interface FinishedStages {
  /** That stage, its tensors the caller's; null where it was not finished. */
  load(stage: number): Promise<FinishedStage | null>
  /** Keeps it whole or not at all; the tensors stay the model's. */
  save(stage: number, finished: FinishedStage): Promise<void>
}

/** Which tensors of a model are others than they were. */
export class Changes {
  private readonly model: Module
  private last: Map<string, Parameter>

  constructor(model: Module) {
    this.model = model
    this.last = new Map(model.namedTensors())
  }

  /** Those put there since the last call, by path. */
  take(): Map<string, Parameter> {
    const now = new Map(this.model.namedTensors())
    const changed = new Map([...now].filter(([path, tensor]) => this.last.get(path) !== tensor))
    this.last = now
    return changed
  }
}

/** Puts the tensors of a finished stage into a model as it was before that. */
export function restoreStage(
  model: Module,
  layers: ReadonlyMap<string, CalibratedLayer>,
  { tensors }: FinishedStage,
): void {
  const twins = new Map<Module, Module>()
  for (const [path, tensor] of tensors) {
    const layer = tensor instanceof QTensor ? layers.get(parentPath(path)) : undefined
    if (!layer) continue
    Object.assign(layer.twin, { weight: tensor, bias: layer.float.bias, training: layer.float.training })
    twins.set(layer.float, layer.twin)
  }
  model.replaceModules(twins)
  for (const [path, tensor] of tensors) {
    if (tensor instanceof QTensor) continue
    const holder = model.getModule(parentPath(path))
    const name = path.slice(parentPath(path).length).replace(/^\./, '')
    // A bias may stand where there was none.
    if (Reflect.get(holder, name) === null) Reflect.set(holder, name, tensor)
    else model.setParameter(path, tensor)
  }
}
