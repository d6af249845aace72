import { check, wholeNumber } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { Random } from '../core/random.ts'
import { aDevice, type Device } from '../devices/device.ts'
import { Tensor } from '../tensor/tensor.ts'
import { aModule, type Module, type Parameter } from './module.ts'

/** How a model is initialized. */
export interface InitializeOptions {
  /** The same seed gives the same values; default 0. */
  seed?: number
}

const optionKinds: OptionKinds<InitializeOptions> = { seed: wholeNumber(-Infinity) }

/**
 * Gives every parameter and buffer of a model memory on `device` and the values that PyTorch's layers start
 * with, in place. The same seed gives the same values; what was tied stays tied, to the first of its paths.
 * Parameters then ask for their gradients, as in PyTorch; of a model that is loaded, those that an optimizer
 * is given do.
 * @returns the model
 */
export function initialize<M extends Module>(model: M, device: Device, options: InitializeOptions = {}): M {
  check('initialize', 'model', model, aModule)
  check('initialize', 'device', device, aDevice)
  checkOptions('initialize', options, optionKinds)
  const random = new Random(options.seed ?? 0)
  const paths = new Map<Parameter, string[]>()
  for (const [path, parameter] of model.namedParameters())
    paths.set(parameter, [...(paths.get(parameter) ?? []), path])
  for (const [, module] of model.namedModules()) module.resetParameters(device, random)
  for (const [first, ...others] of paths.values()) {
    for (const path of others) {
      const own = model.getParameter(path)
      const shared = model.getParameter(first)
      model.setParameter(path, shared)
      if (own !== shared) own.dispose()
    }
  }
  for (const parameter of model.parameters())
    if (parameter instanceof Tensor && parameter.dtype === 'float32') parameter.requiresGrad = true
  return model
}
