import type { Axis, Dot } from '../charts/dots.ts'

/**
 * Where a layer stands in a model of like layers: `model.layers.3.mlp.up_proj` is 3 and mlp.up_proj; those of
 * all experts are of one kind, mlp.experts.*.up_proj.
 */
export function placeOf(path: string): { layer: string; kind: string } {
  const found = /^(.*?)\.(\d+)(?:\.(.+))?$/.exec(path)
  if (!found) return { layer: path, kind: path }
  return { layer: found[2], kind: found[3]?.replace(/\.\d+(?=\.|$)/g, '.*') ?? 'whole layer' }
}

/** A layer in a chart of all: a dot above its place, in the colour of its kind. */
export function layerDot(path: string, y: number): Dot {
  const { layer, kind } = placeOf(path)
  return { x: layer, y, series: kind }
}

/** What charts of layers have in common. */
export interface LayerOrder {
  /** The axis of layers, in the order of the model. */
  layers: Axis
  /** Of those that are quantized, in the order of a layer. */
  kinds: string[]
}

/** @param paths of all layers, in the order of the model */
export function layerOrder(paths: readonly string[], quantized: readonly string[]): LayerOrder {
  return {
    layers: { label: 'layer', order: [...new Set(paths.map((path) => placeOf(path).layer))] },
    kinds: [...new Set(quantized.map((path) => placeOf(path).kind))],
  }
}
