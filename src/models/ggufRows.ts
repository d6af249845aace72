import { isDType } from '../core/dtype.ts'
import type { TensorFile, TensorInfo } from '../formats/tensorFile.ts'
import type { CausalLMConfig } from './causalLM.ts'
import type { GgufFamily } from './families/family.ts'

/**
 * A GGUF file's tensors, which stand under their paths in the model, with what their rows and columns are
 * there. The rows of a query or key projection may be stored with rotating pairs side by side, where Hugging
 * Face's row i of a head rotates with row i + D/2; those of a fused projection as all queries, all keys and
 * all values, where the model has these of one key-value head after the other. Weights of norms that multiply
 * by 1 + weight are stored as that sum.
 * Source: llama.cpp, convert_hf_to_gguf.py, LlamaModel.permute, FalconModel.modify_tensors.
 * @param config says how many heads the rows of a projection belong to
 */
export function inModelOrder(file: TensorFile, gguf: GgufFamily, config: CausalLMConfig): TensorFile {
  const { paired = {}, byHead = [], turned = [], oneRow = [], unitOffset = [] } = gguf
  const isOf = (path: string, module: string) => path.replace(/\.\w+$/, '').endsWith(`.${module}`)
  const placed = (path: string, info: TensorInfo): TensorInfo => {
    const heads = Object.entries(paired).find(([module]) => isOf(path, module))?.[1]
    if (heads) return { ...info, headRows: info.shape[0] / config[heads] }
    if (info.shape.length === 1 && oneRow.some((module) => isOf(path, module)) && path.endsWith('.weight'))
      return { ...info, shape: [1, ...info.shape] }
    if (unitOffset.some((module) => isOf(path, module))) return { ...info, added: -1 }
    const isTurned = isDType(info.dtype) && info.shape.length === 2
    if (!isTurned || !turned.some((module) => isOf(path, module))) return info
    return { ...info, shape: info.shape.toReversed(), columnMajor: true }
  }
  const tensors = new Map([...file.tensors].map(([path, info]) => [path, placed(path, info)]))
  const fused = (path: string) => byHead.some((module) => isOf(path, module))
  return {
    ...file,
    tensors,
    read: (path) => {
      const info = tensors.get(path)
      return info && fused(path) ? rowsByHead(file, info, path, config, 0, info.shape[0]) : file.read(path)
    },
    readRows: (path, start, end, into) => {
      const info = tensors.get(path)
      // What is one row here are as many in the file.
      if (info && info.shape.length !== file.tensors.get(path)?.shape.length)
        return file.readBytes(path, start * info.byteLength, (end - start) * info.byteLength, into)
      if (!info || !fused(path)) return file.readRows(path, start, end, into)
      return rowsByHead(file, info, path, config, start, end, into)
    },
    close: () => file.close(),
  }
}

/** Rows of a fused projection in the model's order, from a file that has them by parts. */
async function rowsByHead(
  file: TensorFile,
  { shape, byteLength }: TensorInfo,
  path: string,
  { heads, keyValueHeads }: CausalLMConfig,
  start: number,
  end: number,
  into?: Uint8Array,
): Promise<Uint8Array> {
  const [rows] = shape
  const rowBytes = byteLength / rows
  const headRows = rows / (heads + 2 * keyValueHeads)
  const shared = heads / keyValueHeads
  /** Where the file has a head of the model's: of each key-value head the queries, the key, the value. */
  const placeOf = (head: number) => {
    const group = Math.floor(head / (shared + 2))
    const within = head % (shared + 2)
    if (within < shared) return group * shared + within
    return heads + (within - shared) * keyValueHeads + group
  }
  const bytes = into?.subarray(0, (end - start) * rowBytes) ?? new Uint8Array((end - start) * rowBytes)
  for (let row = start; row < end; ) {
    const head = Math.floor(row / headRows)
    const count = Math.min(end, (head + 1) * headRows) - row
    const from = placeOf(head) * headRows + (row - head * headRows)
    bytes.set(await file.readRows(path, from, from + count), (row - start) * rowBytes)
    row += count
  }
  return bytes
}
