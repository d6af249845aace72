import type { FloatLayer } from './scheme.ts'

/** Whether a layer, or the twin of one, is of a class that formats of linear layers know. */
export function isLinear(typeName: string): boolean {
  return /^Q?(Linear|Conv1D)$/.test(typeName)
}

/** Whether a layer is the head of a language model, which libraries leave a float unless they are told. */
export function isHead(path: string): boolean {
  return /^(lm_head|embed_out|score|classifier)$/.test(path)
}

/** The linear layers that stay float, beside the head. */
export function floatLinears(floats: readonly FloatLayer[]): string[] {
  return floats.filter(({ typeName, path }) => isLinear(typeName) && !isHead(path)).map(({ path }) => path)
}
