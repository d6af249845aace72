import type { FloatDType } from '../core/dtype.ts'

/** What a model's tensors are written into. */
export interface Container {
  /** Of floats, as a target: `safetensors`. */
  readonly name: string
  /** The one file that a model becomes; null where it is a folder of several. */
  readonly file: string | null
  /** Targets of floats besides `name`, `name:KEY` each: what floats become; else they are as saved. */
  readonly floats: Readonly<Record<string, FloatDType>>
}

/** A folder in Hugging Face layout. */
export const safetensorsFolder: Container = { name: 'safetensors', file: null, floats: {} }

/** One file that llama.cpp runs. */
export const ggufFile = {
  name: 'gguf',
  file: 'model.gguf',
  floats: { f32: 'float32', f16: 'float16', bf16: 'bfloat16' },
} satisfies Container

/** Every container that models are written into. */
export const containers: readonly Container[] = [safetensorsFolder, ggufFile]
