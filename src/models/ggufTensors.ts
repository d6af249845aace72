import type { CausalLMConfig } from './causalLM.ts'
import type { GgufFamily, GgufModules } from './families/family.ts'

/** Factors of the rotary frequencies: a part of the configuration, though stored as a tensor. */
export const ropeFactorsName = 'rope_freqs.weight'
/** Those of short texts and of long ones. */
export const longRopeNames = { short: 'rope_factors_short.weight', long: 'rope_factors_long.weight' } as const

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

/** Where a tensor of a model stands in a file. */
export interface TensorPlace {
  name: string
  /** Its number among the experts whose tensors are one there; null of others. */
  expert: number | null
}

/** The inverse of `modulePath`; a path in `modules` has `E` for the number of an expert. */
export function tensorPlace(modules: GgufModules, path: string): TensorPlace | null {
  const [, module, part] = /^(.*)\.(weight|bias)$/.exec(path) ?? []
  if (module === undefined) return null
  for (const [name, pattern] of Object.entries(modules)) {
    const numbers = numbersIn(module, pattern)
    if (!numbers) continue
    const own = numbers.N === undefined ? name : name.replace('blk.N.', `blk.${numbers.N}.`)
    return { name: `${own}.${part}`, expert: numbers.E === undefined ? null : Number(numbers.E) }
  }
  return null
}

/** The numbers that stand in a path for the letters `N` and `E` of a pattern; null where it is another path. */
function numbersIn(path: string, pattern: string): Partial<Record<'N' | 'E', string>> | null {
  const [names, parts] = [path.split('.'), pattern.split('.')]
  if (names.length !== parts.length) return null
  const numbers: Partial<Record<'N' | 'E', string>> = {}
  for (const [i, part] of parts.entries()) {
    const isLetter = (part === 'N' || part === 'E') && /^\d+$/.test(names[i])
    if (isLetter) numbers[part] = names[i]
    else if (part !== names[i]) return null
  }
  return numbers
}
