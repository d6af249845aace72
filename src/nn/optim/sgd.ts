import { ShapeError } from '../../core/errors.ts'
import { aBoolean, aNumber, atLeast } from '../../core/kinds.ts'
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

/** The settings of torch.optim.SGD. */
export interface SGDSettings extends StepSettings {
  /** How much of the last step's velocity stays; default 0. */
  momentum: number
  /** How much less of the gradient enters the velocity; default 0. */
  dampening: number
  /** Whether the step looks ahead along the velocity; default false. */
  nesterov: boolean
  /** λ of the penalty λ/2·‖parameter‖²; default 0. */
  weightDecay: number
}

const settingKinds: SettingKinds<SGDSettings> = {
  ...stepKinds,
  momentum: atLeast(0),
  dampening: aNumber,
  nesterov: aBoolean,
  weightDecay: atLeast(0),
}

type Numbers = 'lr' | 'momentum' | 'rate' | 'nesterov' | 'weightDecay'

/** One step in place; see kernels/optim/sgdStep. */
const sgdStep = op(
  'sgdStep(parameter, gradient, velocity, options)',
  (parameter: Tensor, gradient: Tensor, velocity: Tensor | null, options: Record<Numbers, number>) =>
    parameter.device.call('sgdStep', { parameter, gradient, velocity, ...options, count: parameter.numel }),
)

/**
 * Stochastic gradient descent, parameter −= lr · gradient, with momentum; settings and defaults of
 * torch.optim.SGD.
 */
export class SGD extends ParameterOptimizer<SGDSettings> {
  constructor(parameters: Trained<SGDSettings>, settings: Partial<SGDSettings> = {}) {
    checkOptions('SGD', settings, settingKinds)
    super(parameters, { lr: 1e-3, momentum: 0, dampening: 0, nesterov: false, weightDecay: 0, ...settings })
  }

  protected override get settingKinds(): SettingKinds<SGDSettings> {
    return settingKinds
  }

  protected override checkSettings(settings: SGDSettings): void {
    super.checkSettings(settings)
    const { momentum, dampening, nesterov } = settings
    if (nesterov && !(momentum > 0 && dampening === 0)) {
      const given = `momentum ${momentum}, dampening ${dampening}`
      throw new ShapeError(`SGD: nesterov must be with momentum and without dampening; received ${given}`)
    }
  }

  protected update(parameter: Tensor, gradient: Tensor, group: SGDSettings, state: ParameterState): void {
    const { lr, momentum, dampening, nesterov, weightDecay } = group
    // The first velocity is the gradient, undamped.
    const rate = state.tensors.velocity ? 1 - dampening : 1
    const velocity = momentum === 0 ? null : this.remembered(parameter, state, 'velocity')
    sgdStep(parameter, gradient, velocity, { lr, momentum, rate, nesterov: Number(nesterov), weightDecay })
  }
}
