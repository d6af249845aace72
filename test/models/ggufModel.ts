import { readFileSync } from 'node:fs'
import type { Device } from '../../src/devices/device.ts'
import { type ByteSource, bytesSource } from '../../src/formats/source.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { planGguf } from '../../src/models/ggufPlan.ts'
import { f32, fixtures, text, u32, u64 } from '../formats/ggufBytes.ts'

export const kinds = ['q4_0', 'q5_1', 'q8_0'] as const

/** A file that the Python package wrote. */
export function storiesSource(kind: string): ByteSource {
  return bytesSource(readFileSync(`${fixtures}stories260K-${kind}.gguf`), kind)
}

/** Loads every parameter of a file's plan. */
export async function loadGguf(device: Device, source: ByteSource): Promise<CausalLM> {
  const { model, parameters, close } = await planGguf(source)
  try {
    for (const { paths, load } of parameters) {
      const parameter = await load(device)
      for (const use of paths) model.setParameter(use, parameter)
      await device.sync()
    }
    return model
  } finally {
    await close()
  }
}

/** A copy of stories260K-q4_0.gguf with the tensor `rope_freqs.weight`. */
export function withRopeFactors(file: Buffer, factors: readonly number[]): Buffer {
  // The last entry: a name, then dimensions, two sizes, type and offset. The data follow from 14336 on.
  const end = file.lastIndexOf('blk.4.attn_k.weight') + 'blk.4.attn_k.weight'.length + 4 + 16 + 4 + 8
  const entry = Buffer.concat([
    text('rope_freqs.weight'),
    u32(1),
    u64(factors.length),
    u32(0),
    u64(file.length - 14336),
  ])
  const header = Buffer.concat([file.subarray(0, end), entry])
  header.writeBigUInt64LE(48n, 8)
  const padding = Buffer.alloc(Math.ceil(header.length / 32) * 32 - header.length)
  return Buffer.concat([header, padding, file.subarray(14336), ...factors.map(f32)])
}
