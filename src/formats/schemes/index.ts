import { bitsandbytes } from './bitsandbytes.ts'
import { gguf } from './gguf.ts'
import { gptq } from './gptq.ts'
import { mlx } from './mlx.ts'
import { quanto } from './quanto.ts'
import type { Scheme } from './scheme.ts'

/** Every scheme, in the order in which they are asked whether a checkpoint is theirs. */
export const schemes: readonly Scheme[] = [quanto, gptq, bitsandbytes, mlx, gguf]

/** The scheme of that name; undefined if there is none. */
export function schemeNamed(name: string): Scheme | undefined {
  return schemes.find((scheme) => scheme.name === name)
}
