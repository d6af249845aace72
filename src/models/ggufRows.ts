import { isDType } from '../core/dtype.ts'
import { type TensorFile, type TensorInfo, tensorInfo } from '../formats/tensorFile.ts'
import type { CausalLMConfig } from './causalLM.ts'
import type { GgufFamily } from './families/family.ts'

/**
 * A GGUF file's tensors, which stand under their paths in the model, with rows and columns as the model has
 * them.
 * @param config says how many heads the rows of a projection belong to
 */
export function inModelOrder(file: TensorFile, gguf: GgufFamily, config: CausalLMConfig): TensorFile {
  const { paired = {}, turned = [] } = gguf
  const isOf = (path: string, module: string) => path.replace(/\.\w+$/, '').endsWith(`.${module}`)
  const headsOf = (path: string) => {
    const found = Object.entries(paired).find(([module]) => isOf(path, module))
    return found ? config[found[1]] : null
  }
  const tensors = new Map<string, TensorInfo>()
  for (const [path, info] of file.tensors) {
    const isTurned =
      isDType(info.dtype) && info.shape.length === 2 && turned.some((module) => isOf(path, module))
    tensors.set(path, isTurned ? { ...info, shape: info.shape.toReversed(), columnMajor: true } : info)
  }
  const readRows: TensorFile['readRows'] = async (path, start, end, into) => {
    const heads = headsOf(path)
    if (heads === null) return file.readRows(path, start, end, into)
    // Rows move within their head, so whole heads are read.
    const [rows] = tensorInfo(file, path).shape
    const headRows = rows / heads
    const first = Math.floor(start / headRows) * headRows
    const last = Math.min(Math.ceil(end / headRows) * headRows, rows)
    const bytes = unpermuteRows(await file.readRows(path, first, last), headRows, last - first)
    const rowBytes = bytes.length / (last - first)
    return bytes.subarray((start - first) * rowBytes, (end - first) * rowBytes)
  }
  const read: TensorFile['read'] = async (path) => {
    const heads = headsOf(path)
    const bytes = await file.read(path)
    const [rows] = tensorInfo(file, path).shape
    return heads === null ? bytes : unpermuteRows(bytes, rows / heads, rows)
  }
  return { ...file, tensors, read, readRows, close: () => file.close() }
}

/**
 * Puts the rows of a query or key projection into Hugging Face's order, where row i of a head rotates with
 * row i + D/2. llama.cpp stores such pairs side by side: row s · D/2 + i of a head is its row 2i + s. Rows
 * are whole blocks and move as they are.
 * Source: llama.cpp, convert_hf_to_gguf.py, LlamaModel.permute.
 * @param bytes `rows` rows of equal length, those of whole heads of `headRows` rows each
 */
export function unpermuteRows(bytes: Uint8Array, headRows: number, rows: number): Uint8Array {
  const rowBytes = bytes.length / rows
  const half = headRows / 2
  const ordered = new Uint8Array(bytes.length)
  for (let row = 0; row < rows; row++) {
    const head = Math.floor(row / headRows)
    const s = Math.floor(row / half) % 2
    const from = head * headRows + 2 * (row % half) + s
    ordered.set(bytes.subarray(from * rowBytes, (from + 1) * rowBytes), row * rowBytes)
  }
  return ordered
}
