import { isDType } from '../core/dtype.ts'
import type { TensorFile, TensorInfo } from '../formats/tensorFile.ts'
import type { CausalLMConfig } from './causalLM.ts'
import type { GgufFamily } from './families/family.ts'

/**
 * A GGUF file's tensors, which stand under their paths in the model, with what their rows and columns are
 * there: those of a query or key projection are stored with rotating pairs side by side, where Hugging Face's
 * row i of a head rotates with row i + D/2.
 * Source: llama.cpp, convert_hf_to_gguf.py, LlamaModel.permute.
 * @param config says how many heads the rows of a projection belong to
 */
export function inModelOrder(file: TensorFile, gguf: GgufFamily, config: CausalLMConfig): TensorFile {
  const { paired = {}, turned = [] } = gguf
  const isOf = (path: string, module: string) => path.replace(/\.\w+$/, '').endsWith(`.${module}`)
  const placed = (path: string, info: TensorInfo): TensorInfo => {
    const heads = Object.entries(paired).find(([module]) => isOf(path, module))?.[1]
    if (heads) return { ...info, headRows: info.shape[0] / config[heads] }
    const isTurned = isDType(info.dtype) && info.shape.length === 2
    if (!isTurned || !turned.some((module) => isOf(path, module))) return info
    return { ...info, shape: info.shape.toReversed(), columnMajor: true }
  }
  const tensors = new Map([...file.tensors].map(([path, info]) => [path, placed(path, info)]))
  return { ...file, tensors, close: () => file.close() }
}
