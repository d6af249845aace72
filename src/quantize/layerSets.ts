import { Conv2d } from '../nn/conv2d.ts'
import { Linear } from '../nn/linear.ts'
import { LayerNorm } from '../nn/normalization.ts'
import type { FoundTwin, LayerClass } from '../nn/twins.ts'

/** Which of the layers that have twins are quantized, by the names that the option `layers` takes. */
export const layerSets = {
  /** Those that no one has to ask for. */
  default: ({ twin }) => !twin.onRequest,
  /** Those that optimum-quanto has. */
  quanto: ({ layerClass }) => quantoLayers.includes(layerClass),
} satisfies Record<string, (found: FoundTwin) => boolean>

const quantoLayers: readonly LayerClass[] = [Linear, Conv2d, LayerNorm]

export type LayerSet = keyof typeof layerSets
