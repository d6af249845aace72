import type { CausalLMConfig } from './causalLM.ts'
import type { GgufFamily, GgufModules } from './families/family.ts'

/** Factors of the rotary frequencies: a part of the configuration, though stored as a tensor. */
export const ropeFactorsName = 'rope_freqs.weight'

/** The modules of a model by their names in the file. */
export function modulesOf({ modules, ...gguf }: GgufFamily, config: CausalLMConfig): GgufModules {
  return { ...modules, ...gguf.otherModules?.(config) }
}

/**
 * `blk.3.attn_q.weight` → `model.layers.3.self_attn.q_proj.weight`; null for a name that the family does not
 * have.
 */
export function modulePath(modules: GgufModules, tensor: string): string | null {
  const [, layer, name, part] = /^(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)$/.exec(tensor) ?? []
  const module = layer === undefined ? name : `blk.N.${name}`
  if (module === undefined || !Object.hasOwn(modules, module)) return null
  return `${modules[module].replace('.N.', `.${layer}.`)}.${part}`
}

/** The inverse of `modulePath`. */
export function tensorName(modules: GgufModules, path: string): string | null {
  const [, module, part] = /^(.*)\.(weight|bias)$/.exec(path) ?? []
  if (module === undefined) return null
  for (const [name, pattern] of Object.entries(modules)) {
    if (pattern === module) return `${name}.${part}`
    const [before, behind] = pattern.split('.N.')
    if (behind === undefined || !module.startsWith(`${before}.`) || !module.endsWith(`.${behind}`)) continue
    const layer = module.slice(before.length + 1, -behind.length - 1)
    if (/^\d+$/.test(layer)) return `${name.replace('blk.N.', `blk.${layer}.`)}.${part}`
  }
  return null
}
