import { Random } from '../core/random.ts'
import type { Device } from '../devices/device.ts'
import type { Module } from './module.ts'

/**
 * Gives every parameter and buffer of a model memory on `device` and the values that PyTorch's layers start with, in place.
 * The same seed gives the same values.
 * @returns the model
 */
export function initialize<M extends Module>(model: M, device: Device, options: { seed?: number } = {}): M {
  const random = new Random(options.seed ?? 0)
  for (const [, module] of model.namedModules()) module.resetParameters(device, random)
  return model
}
