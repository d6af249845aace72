import type { GgufFamily } from './families/family.ts'

/** Factors of the rotary frequencies: a part of the configuration, though stored as a tensor. */
export const ropeFactorsName = 'rope_freqs.weight'

/**
 * `blk.3.attn_q.weight` → `model.layers.3.self_attn.q_proj.weight`; null for a name that the family does not
 * have.
 */
export function modulePath({ modules }: GgufFamily, tensor: string): string | null {
  const [, layer, name, part] = /^(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)$/.exec(tensor) ?? []
  const module = layer === undefined ? name : `blk.N.${name}`
  if (module === undefined || !Object.hasOwn(modules, module)) return null
  return `${modules[module].replace('.N.', `.${layer}.`)}.${part}`
}
