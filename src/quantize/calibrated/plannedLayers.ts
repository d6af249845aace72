import { ShapeError } from '../../core/errors.ts'
import type { Module } from '../../nn/module.ts'
import { QWeightModule } from '../../nn/qmodule.ts'
import { planTwins, type QuantizeOptions } from '../quantize.ts'
import type { CalibratedLayer, FloatLayer } from './algorithm.ts'

/** The layers that `quantize` would replace for their weights, by path. @throws ShapeError without values */
export function plannedLayers(
  model: Module,
  options: QuantizeOptions,
  operation = 'quantizeCalibrated',
): Map<string, CalibratedLayer> {
  const layers = new Map<string, CalibratedLayer>()
  for (const [path, { layer, twin }] of planTwins(model, options)) {
    if (!(twin instanceof QWeightModule)) continue
    const float = layer as FloatLayer
    if (float.weight.isMeta)
      throw new ShapeError(`${operation}: weights must be loaded; ${path} has none yet`)
    layers.set(path, { path, float, twin })
  }
  return layers
}
