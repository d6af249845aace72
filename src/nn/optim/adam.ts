import { atLeast, listOf, within } from '../../core/kinds.ts'
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

/** The settings of torch.optim.Adam and AdamW. */
export interface AdamSettings extends StepSettings {
  /**
   * How much of the running means of the gradient and of its square stays in a step; default [0.9, 0.999].
   */
  betas: readonly [number, number]
  /** Keeps the divisor from 0; default 1e-8. */
  eps: number
  /**
   * Adam: λ of the penalty λ/2·‖parameter‖², default 0. AdamW: parameter −= lr · λ · parameter, default 0.01.
   */
  weightDecay: number
}

const settingKinds: SettingKinds<AdamSettings> = {
  ...stepKinds,
  betas: listOf('numbers in [0, 1)', within(0, 1, { excluded: 1 }), 2),
  eps: atLeast(0),
  weightDecay: atLeast(0),
}

type Numbers = 'stepSize' | 'rate1' | 'rate2' | 'correction' | 'epsilon' | 'weightDecay' | 'keep'

/** One step in place; see kernels/optim/adamStep. */
const adamStep = op(
  'adamStep(parameter, gradient, mean, square, options)',
  (parameter: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, options: Record<Numbers, number>) =>
    parameter.device.call('adamStep', {
      parameter,
      gradient,
      mean,
      square,
      ...options,
      count: parameter.numel,
    }),
)

/** Adam, settings and defaults of torch.optim.Adam. */
export class Adam extends ParameterOptimizer<AdamSettings> {
  constructor(parameters: Trained<AdamSettings>, settings: Partial<AdamSettings> = {}) {
    checkOptions(new.target.name, settings, settingKinds)
    super(parameters, { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0, ...settings })
  }

  protected override get settingKinds(): SettingKinds<AdamSettings> {
    return settingKinds
  }

  protected update(parameter: Tensor, gradient: Tensor, group: AdamSettings, state: ParameterState): void {
    this.adamStep(parameter, gradient, group, state, group.weightDecay, 1)
  }

  /** @param decay weight decay as part of the gradient @param kept how much of the parameter stays */
  protected adamStep(
    parameter: Tensor,
    gradient: Tensor,
    group: AdamSettings,
    state: ParameterState,
    decay: number,
    kept: number,
  ): void {
    const { lr, betas, eps } = group
    const mean = this.remembered(parameter, state, 'mean')
    const square = this.remembered(parameter, state, 'square')
    const stepSize = lr / (1 - betas[0] ** state.step)
    const correction = Math.sqrt(1 - betas[1] ** state.step)
    const rates = { stepSize, rate1: 1 - betas[0], rate2: 1 - betas[1], correction }
    adamStep(parameter, gradient, mean, square, { ...rates, epsilon: eps, weightDecay: decay, keep: kept })
  }
}

/** Adam with decoupled weight decay, settings and defaults of torch.optim.AdamW. */
export class AdamW extends Adam {
  constructor(parameters: Trained<AdamSettings>, settings: Partial<AdamSettings> = {}) {
    checkOptions(new.target.name, settings, settingKinds)
    super(parameters, { weightDecay: 0.01, ...settings })
  }

  protected override update(
    parameter: Tensor,
    gradient: Tensor,
    group: AdamSettings,
    state: ParameterState,
  ): void {
    this.adamStep(parameter, gradient, group, state, 0, 1 - group.lr * group.weightDecay)
  }
}
