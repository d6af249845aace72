import { join } from 'node:path'
import type { Device } from '../../src/devices/device.ts'
import { conversionTargets } from '../../src/formats/schemes/targets.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import type { ConvertedTensor } from '../../src/models/conversionPlan.ts'
import { convert } from '../../src/models/convert.ts'
import type { ModelPlace } from '../../src/models/load.ts'
import { golden } from '../golden.ts'

/*
 * Every target beside a folder of every scheme, all of one small model.
 */

const item = (id: string) => join(golden, 'stories260K', id)

/** Folders and files of one model that the formats' own libraries wrote, by what they are. */
export const sources: Readonly<Record<string, string>> = {
  floats: 'lowbit/models/stories260K',
  'quanto int4': item('quanto-qint4'),
  'quanto int8': item('quanto-qint8'),
  'quanto float8': item('quanto-qfloat8'),
  'GPTQ 4 bits': item('gptq-w4-g32-sym'),
  'GPTQ act-order': item('gptq-w4-g32-asym-desc_act'),
  'GPTQ v2 4 bits': item('gptq_v2-w4-g32-asym'),
  'AWQ 4 bits': item('awq-gemm-g32-attn'),
  'bitsandbytes NF4': item('bnb-nf4'),
  'bitsandbytes NF4, double': item('bnb-nf4-dq'),
  'bitsandbytes int8': item('bnb-int8'),
  'compressed-tensors W4A16': item('ct-w4a16'),
  'compressed-tensors FP8': item('ct-fp8'),
  'compressed-tensors NVFP4': item('ct-nvfp4a16'),
  'fine-grained FP8': item('fp8-finegrained-b32'),
  'torchao int8': item('torchao-int8wo'),
  'torchao int4': item('torchao-int4-g32'),
  'HQQ 4 bits': item('hqq-w4-g64'),
  'MLX 4 bits': item('mlx-w4-g64'),
  BitNet: item('bitnet-packed'),
  'GGUF Q4_0': join(golden, 'gguf/stories260K-q4_0.gguf'),
  'GGUF Q8_0': join(golden, 'gguf/stories260K-q8_0.gguf'),
}

/** A model in another format, in memory. */
export interface ConvertedFiles {
  readonly tensors: readonly ConvertedTensor[]
  /** What `loadCausalLM` loads. */
  readonly place: ModelPlace
}

/** Converts into memory. */
export async function convertedFiles(
  source: ModelPlace,
  to: string,
  device: Device,
): Promise<ConvertedFiles> {
  const files = new Map<string, Uint8Array>()
  const { tensors } = await convert(source, memoryFolder(files), { to, device, onWarning: () => {} })
  const one = files.get('model.gguf')
  return { tensors, place: one ? new Blob([one as BlobPart]) : memoryFolder(files) }
}

/**
 * What a conversion costs: `exact`, or the largest relative error of a weight; undefined of one that is
 * refused.
 */
export function costOf(tensors: readonly ConvertedTensor[]): string {
  const errors = tensors.filter(({ exact }) => !exact).map(({ error }) => error ?? Number.NaN)
  return errors.length === 0 ? 'exact' : Math.max(...errors).toFixed(3)
}

/** The names of all targets. */
export const targets: readonly string[] = [...conversionTargets().keys()]

/** The targets that the table in the documentation shows, one or two of each scheme. */
export const shownTargets: readonly string[] = [
  ...['quanto', 'quanto-int4', 'awq', 'gptq', 'bnb-nf4', 'bnb-int8', 'compressed-tensors'],
  ...['compressed-tensors:fp8', 'fp8', 'hqq', 'mlx', 'torchao-int8', 'gguf:q4_0', 'gguf:q8_0', 'safetensors'],
]
