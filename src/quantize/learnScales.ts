import { DTypeError, ShapeError } from '../core/errors.ts'
import { aBoolean, check } from '../core/kinds.ts'
import { aModule, type Module } from '../nn/module.ts'
import { QModule } from '../nn/qmodule.ts'
import type { Tensor } from '../tensor/tensor.ts'

/**
 * Makes the calibrated scales of int8 activations parameters, which train with the rest: optimizers take them
 * from `model.parameters()`, or in a group of their own. They start from what `calibrate` found; to calibrate
 * again, or `learnScales(model, false)`, fixes them.
 *
 *     const weights = [...model.parameters()]
 *     const optimizer = new AdamW([{ params: weights }, { params: learnScales(model), lr: 1e-4, weightDecay: 0 }])
 *
 * Source: Esser et al., "Learned Step Size Quantization", 2020.
 * @returns the scales
 * @throws DTypeError if activations are float8, whose scales cannot be learned
 * @throws ShapeError if the model has no calibrated activations
 */
export function learnScales(model: Module, learn = true): Tensor[] {
  check('learnScales', 'model', model, aModule)
  check('learnScales', 'learn', learn, aBoolean)
  const scales: Tensor[] = []
  for (const [path, module] of model.namedModules()) {
    if (!(module instanceof QModule) || !module.activations) continue
    const { activations, inputQuantized, outputQuantized } = module
    if (learn && activations.dtype !== 'int8')
      throw new DTypeError(`learnScales: activations must be int8; ${path} has ${activations.name}`)
    if (inputQuantized && module.input_scale) scales.push(module.input_scale)
    if (outputQuantized && module.output_scale) scales.push(module.output_scale)
  }
  if (scales.length === 0)
    throw new ShapeError(
      'learnScales: the model must have calibrated activations; calibrate(model, run) first',
    )
  for (const scale of scales) scale.requiresGrad = learn
  return scales
}
