import type { GgufBlockType } from '../ggufLayouts.ts'
import type { LayerPlace } from './scheme.ts'

/*
 * llama.cpp's mixtures: most weights are of one type, those that matter more have more bits.
 * Source: llama.cpp, src/llama-quant.cpp, `llama_tensor_get_type`; what it does for single models is left
 * out.
 */

/** The type of a layer's weight, by where it stands. */
type Mixture = (place: LayerPlace) => GgufBlockType

/** The first and last eighth of the layers, and every third between. */
function hasMoreBits({ layer, layers }: LayerPlace): boolean {
  const [i, eighth] = [layer ?? 0, Math.floor(layers / 8)]
  return i < eighth || i >= Math.floor((7 * layers) / 8) || (i - eighth) % 3 === 2
}

/** Whether a layer is among the first 1/n of them. */
function isFirst({ layer, layers }: LayerPlace, n: number): boolean {
  return (layer ?? 0) < Math.floor(layers / n)
}

/** What differs from the type that most weights are of, by llama.cpp's names of tensors. */
function mixture(most: GgufBlockType, others: Readonly<Record<string, Mixture>>): Mixture {
  return (place) => {
    if (place.isHead) return 'Q6_K'
    // One matrix of queries, keys and values counts as values.
    const name = place.name.replace(/^blk\.\d+\./, '').replace('attn_qkv', 'attn_v')
    return Object.hasOwn(others, name) ? others[name](place) : most
  }
}

/** Which types a file of a mixture has. */
export interface GgufMixture {
  /** That of most weights. */
  readonly most: GgufBlockType
  /** Those of the others. */
  readonly others: readonly GgufBlockType[]
  readonly typeOf: Mixture
}

/** The mixtures by the names that llama.cpp has for them, in small letters. */
export const ggufMixtures: Readonly<Record<string, GgufMixture>> = {
  q3_k_s: { most: 'Q3_K', others: ['Q6_K'], typeOf: mixture('Q3_K', {}) },
  q3_k_m: {
    most: 'Q3_K',
    others: ['Q4_K', 'Q5_K', 'Q6_K'],
    typeOf: mixture('Q3_K', {
      attn_v: ({ layer }) => (Number(layer) < 2 ? 'Q5_K' : 'Q4_K'),
      attn_output: () => 'Q4_K',
      ffn_down: (place) => (isFirst(place, 16) ? 'Q5_K' : 'Q4_K'),
    }),
  },
  q3_k_l: {
    most: 'Q3_K',
    others: ['Q4_K', 'Q5_K', 'Q6_K'],
    typeOf: mixture('Q3_K', {
      attn_v: () => 'Q5_K',
      attn_output: () => 'Q5_K',
      ffn_down: () => 'Q5_K',
    }),
  },
  q4_k_s: {
    most: 'Q4_K',
    others: ['Q5_K', 'Q6_K'],
    typeOf: mixture('Q4_K', {
      attn_v: ({ layer }) => (Number(layer) < 4 ? 'Q5_K' : 'Q4_K'),
      ffn_down: (place) => (isFirst(place, 8) ? 'Q5_K' : 'Q4_K'),
    }),
  },
  q4_k_m: {
    most: 'Q4_K',
    others: ['Q5_K', 'Q6_K'],
    typeOf: mixture('Q4_K', {
      attn_v: (place) => (hasMoreBits(place) ? 'Q6_K' : 'Q4_K'),
      ffn_down: (place) => (hasMoreBits(place) ? 'Q6_K' : 'Q4_K'),
    }),
  },
  q5_k_s: { most: 'Q5_K', others: ['Q6_K'], typeOf: mixture('Q5_K', {}) },
  q5_k_m: {
    most: 'Q5_K',
    others: ['Q6_K'],
    typeOf: mixture('Q5_K', {
      attn_v: (place) => (hasMoreBits(place) ? 'Q6_K' : 'Q5_K'),
      ffn_down: (place) => (hasMoreBits(place) ? 'Q6_K' : 'Q5_K'),
    }),
  },
}
