import type { Tensor } from '../../tensor/tensor.ts'
import { ParameterOptimizer, type ParameterState, type StepSettings, type Trained } from './optimizer.ts'

/** The settings of torch.optim.Adadelta. */
export interface AdadeltaSettings extends StepSettings {
  /** How much of the running means stays in a step; default 0.9. */
  rho: number
  /** Keeps the roots from 0; default 1e-6. */
  eps: number
  /** λ of the penalty λ/2·‖parameter‖²; default 0. */
  weightDecay: number
}

/** Adadelta, settings and defaults of torch.optim.Adadelta (lr 1). */
export class Adadelta extends ParameterOptimizer<AdadeltaSettings> {
  constructor(parameters: Trained<AdadeltaSettings>, settings: Partial<AdadeltaSettings> = {}) {
    super(parameters, { lr: 1, rho: 0.9, eps: 1e-6, weightDecay: 0, ...settings })
  }

  protected override checkSettings(settings: AdadeltaSettings): void {
    super.checkSettings(settings)
    const { rho, eps, weightDecay } = settings
    this.checkRange('rho', rho, rho >= 0 && rho <= 1, 'in [0, 1]')
    this.checkRange('eps', eps, eps >= 0, 'at least 0')
    this.checkRange('weightDecay', weightDecay, weightDecay >= 0, 'at least 0')
  }

  protected update(parameter: Tensor, gradient: Tensor, group: AdadeltaSettings, state: ParameterState): void {
    const { lr, rho, eps, weightDecay } = group
    const square = this.remembered(parameter, state, 'square')
    const change = this.remembered(parameter, state, 'change')
    parameter.device.call('adadeltaStep', parameter, gradient, square, change, lr, 1 - rho, eps, weightDecay, parameter.numel)
  }
}
