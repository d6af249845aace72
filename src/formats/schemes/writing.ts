import { several } from '../../core/lists.ts'
import type { QTensor } from '../../qtensor/qtensor.ts'
import type { Tensor } from '../../tensor/tensor.ts'
import type { LayerToWrite, PartToWrite } from './scheme.ts'

/* What writers of schemes have in common. */

/** A tensor that is made of a frozen weight. */
export function weightPart(
  name: string,
  dtype: PartToWrite['dtype'],
  shape: PartToWrite['shape'],
  make: (weight: QTensor) => Tensor,
): PartToWrite {
  return { name, dtype, shape, of: 'weight', make: ({ weight }) => make(weight as QTensor) }
}

/** A sentence about the layers that a library cannot load, and lowbit can; none where it loads all. */
export function unloadable(
  library: string,
  layers: ReadonlyMap<string, LayerToWrite>,
  loads: (layer: LayerToWrite) => boolean,
): string[] {
  const others = [...layers.values()].filter((layer) => !loads(layer))
  if (others.length === 0) return []
  const listed = several(others.map(({ path, typeName }) => `${path} (${typeName})`))
  return [`save: ${library} cannot load ${listed}; lowbit can`]
}
