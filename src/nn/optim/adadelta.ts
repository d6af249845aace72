import { atLeast, within } from '../../core/kinds.ts'
import { checkOptions } from '../../core/options.ts'
import { op } from '../../tensor/op.ts'
import type { Tensor } from '../../tensor/tensor.ts'
import {
  ParameterOptimizer,
  type ParameterState,
  type SettingKinds,
  type StepSettings,
  stepKinds,
  type Trained,
} from './optimizer.ts'

/** The settings of torch.optim.Adadelta. */
export interface AdadeltaSettings extends StepSettings {
  /** How much of the running means stays in a step; default 0.9. */
  rho: number
  /** Keeps the roots from 0; default 1e-6. */
  eps: number
  /** λ of the penalty λ/2·‖parameter‖²; default 0. */
  weightDecay: number
}

const settingKinds: SettingKinds<AdadeltaSettings> = {
  ...stepKinds,
  rho: within(0, 1),
  eps: atLeast(0),
  weightDecay: atLeast(0),
}

type Numbers = 'lr' | 'rate' | 'epsilon' | 'weightDecay'

/** One step in place; see kernels/optim/adadeltaStep. */
const adadeltaStep = op(
  'adadeltaStep(parameter, gradient, square, change, options)',
  (parameter: Tensor, gradient: Tensor, square: Tensor, change: Tensor, options: Record<Numbers, number>) =>
    parameter.device.call('adadeltaStep', {
      parameter,
      gradient,
      square,
      change,
      ...options,
      count: parameter.numel,
    }),
)

/** Adadelta, settings and defaults of torch.optim.Adadelta (lr 1). */
export class Adadelta extends ParameterOptimizer<AdadeltaSettings> {
  constructor(parameters: Trained<AdadeltaSettings>, settings: Partial<AdadeltaSettings> = {}) {
    checkOptions('Adadelta', settings, settingKinds)
    super(parameters, { lr: 1, rho: 0.9, eps: 1e-6, weightDecay: 0, ...settings })
  }

  protected override get settingKinds(): SettingKinds<AdadeltaSettings> {
    return settingKinds
  }

  protected update(
    parameter: Tensor,
    gradient: Tensor,
    group: AdadeltaSettings,
    state: ParameterState,
  ): void {
    const { lr, rho, eps, weightDecay } = group
    const square = this.remembered(parameter, state, 'square')
    const change = this.remembered(parameter, state, 'change')
    adadeltaStep(parameter, gradient, square, change, { lr, rate: 1 - rho, epsilon: eps, weightDecay })
  }
}
