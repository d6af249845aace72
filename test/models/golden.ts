import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { diskFolder } from '../../src/formats/file.node.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { type Folder, memoryFolder, readBytes } from '../../src/formats/source.ts'
import { tensorInfo } from '../../src/formats/tensorFile.ts'

/** What the Python libraries wrote and computed for stories260K; made by scripts/copy-golden.mjs. */
export const golden = join(import.meta.dirname, '../golden/stories260K')
export const stories = join(import.meta.dirname, '../../models/stories260K')
export const manifest: Manifest = JSON.parse(readFileSync(join(golden, 'manifest.json'), 'utf8'))
export const inputs: { prompt: string; prompt_ids: number[]; ppl_ids: number[] } = JSON.parse(
  readFileSync(join(golden, 'inputs.json'), 'utf8'),
)

interface Manifest {
  context: number
  n_windows: number
  n_scored_tokens: number
  variants: Record<string, Expected>
}

/** What Python computed with one variant. */
export interface Expected {
  perplexity: number
  nll: number
  window_nll: number[]
  greedy_ids: number[]
  greedy_text: string
  /** How far the likeliest token's logit was above the next, at each step. */
  greedy_margins: number[]
  quantized_modules: string[]
  /** Sum, sum of magnitudes and L2 norm of each dequantized weight, in float64. */
  weight_stats: Record<string, [number, number, number]>
}

/** The folder of a variant as Python wrote it. */
export function pythonFolder(variant: string): Folder {
  return diskFolder(variant === 'float' ? stories : join(golden, variant))
}

/** A copy of a folder in memory, to be damaged. */
export async function copyOf(folder: Folder): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>()
  for (const name of await folder.list()) files.set(name, (await readBytes(folder, name, 10_000_000)).slice())
  return files
}

/** All tensors of a file of expectations, float32. */
export async function readExpected(path: string): Promise<Map<string, Float32Array>> {
  const file = await openSafetensors(
    await diskFolder(join(path, '..')).open(path.slice(path.lastIndexOf('/') + 1)),
  )
  const tensors = new Map<string, Float32Array>()
  for (const { name, dtype } of file.tensors.values()) {
    assert.equal(dtype, 'float32')
    tensors.set(name, new Float32Array((await file.read(name)).slice().buffer))
  }
  await file.close()
  return tensors
}

/** Changes the bytes of a tensor within a copied folder. */
export async function damage(
  files: Map<string, Uint8Array>,
  name: string,
  change: (bytes: Uint8Array) => void,
): Promise<void> {
  const file = await openSafetensors(await memoryFolder(files).open('model.safetensors'))
  const { byteOffset, byteLength } = tensorInfo(file, name)
  const bytes = files.get('model.safetensors')
  assert.ok(bytes)
  change(bytes.subarray(byteOffset, byteOffset + byteLength))
}
