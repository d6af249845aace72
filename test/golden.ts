import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { type DType, dtypes } from '../src/core/dtype.ts'
import { toNumbers } from '../src/core/halves.ts'
import { diskFolder } from '../src/formats/file.node.ts'
import { openSafetensors } from '../src/formats/safetensors.ts'

/**
 * What the Python libraries wrote and computed, as far as the repository keeps it (scripts/copy-golden.mjs).
 */
export const golden = join(import.meta.dirname, 'golden')

/** All of it, which lies outside the repository, where it is there, for tests that take whatever there is. */
export const widestGolden = [
  process.env.LOWBIT_GOLDEN ?? join(import.meta.dirname, '../../shared/golden'),
  golden,
].filter((folder) => existsSync(folder))[0]

/** A tensor of a golden file: its bytes, and its values as numbers. */
export interface GoldenTensor {
  dtype: DType
  shape: readonly number[]
  bytes: Uint8Array<ArrayBuffer>
  values: ArrayLike<number>
}

/** The tensors of a golden file, by name. */
export async function readGolden(path: string): Promise<Map<string, GoldenTensor>> {
  const file = await openSafetensors(await diskFolder(dirname(path)).open(basename(path)))
  const tensors = new Map<string, GoldenTensor>()
  for (const [name, { dtype: stored, shape }] of file.tensors) {
    const dtype = stored as DType
    const bytes = (await file.read(name)).slice()
    tensors.set(name, {
      dtype,
      shape,
      bytes,
      values: toNumbers(dtype, new dtypes[dtype].array(bytes.buffer)),
    })
  }
  await file.close()
  return tensors
}

/**
 * What Python computed with a model's variant, such as `stories260K/quanto-qint4-hqq`: an item of the golden
 * set, or of the folders that the repository's own scripts make (scripts/scheme_fixtures.py).
 */
export function goldenItem<Item extends { id: string }>(id: string): Item {
  const items = ['items.json', 'schemes.json'].flatMap((name): Item[] =>
    JSON.parse(readFileSync(join(golden, name), 'utf8')),
  )
  const item = items.find((one) => one.id === id)
  assert.ok(item, `${id} is kept`)
  return item
}
