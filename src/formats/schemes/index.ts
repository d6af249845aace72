import { awq, awqGemv } from './awq.ts'
import { bitnet } from './bitnet.ts'
import { bitsandbytes } from './bitsandbytes.ts'
import { compressedTensors } from './compressedTensors.ts'
import { fp8 } from './fp8.ts'
import { gguf } from './gguf.ts'
import { gptq, gptqV2 } from './gptq.ts'
import { hqq } from './hqq.ts'
import { mlx } from './mlx.ts'
import { mxfp4 } from './mxfp4.ts'
import { quanto } from './quanto.ts'
import type { Scheme } from './scheme.ts'
import { torchao } from './torchao.ts'

/** Every scheme, in the order in which they are asked whether a checkpoint is theirs. */
export const schemes: readonly Scheme[] = [
  quanto,
  awq,
  awqGemv,
  gptq,
  gptqV2,
  bitsandbytes,
  compressedTensors,
  fp8,
  mxfp4,
  hqq,
  bitnet,
  mlx,
  torchao,
  gguf,
]

/** The scheme of that name; undefined if there is none. */
export function schemeNamed(name: string): Scheme | undefined {
  return schemes.find((scheme) => scheme.name === name)
}
