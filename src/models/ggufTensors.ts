import { FormatError } from '../core/errors.ts'
import { type Shape, sameShape, showShape } from '../core/shape.ts'
import type { GgufFile, GgufTensor } from '../formats/gguf.ts'
import { ggufDTypes, isGgufBlockType } from '../formats/ggufBlocks.ts'
import { showName } from '../formats/json.ts'
import type { CausalLM, CausalLMConfig } from './causalLM.ts'
import type { GgufFamily } from './families/family.ts'

/** Factors of the rotary frequencies: a part of the configuration, though stored as a tensor. */
export const ropeFactorsName = 'rope_freqs.weight'

/**
 * `blk.3.attn_q.weight` → `model.layers.3.self_attn.q_proj.weight`; null for a name that the family does not
 * have.
 */
export function modulePath({ modules }: GgufFamily, tensor: string): string | null {
  const [, layer, name, part] = /^(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)$/.exec(tensor) ?? []
  const module = layer === undefined ? name : `blk.N.${name}`
  if (module === undefined || !Object.hasOwn(modules, module)) return null
  return `${modules[module].replace('.N.', `.${layer}.`)}.${part}`
}

/** The paths of the parameters that a file holds, of whatever type. */
export function ggufPaths(gguf: GgufFamily, file: GgufFile): Set<string> {
  return new Set(
    [...file.tensors.keys(), ...file.unsupported.keys()].flatMap((name) => modulePath(gguf, name) ?? []),
  )
}

/**
 * The tensor of every parameter of the model, by path. Of a tied head it is the embedding's.
 * @throws FormatError listing what is missing, misshapen, of a type that is not supported, or left over
 */
export function matchGgufTensors(model: CausalLM, gguf: GgufFamily, file: GgufFile): Map<string, GgufTensor> {
  const problems: string[] = []
  const byPath = new Map<string, GgufTensor>()
  for (const tensor of file.tensors.values()) {
    const path = modulePath(gguf, tensor.name)
    if (path !== null) byPath.set(path, tensor)
  }
  const unknown = new Map([...file.unsupported].map(([name, id]) => [modulePath(gguf, name), { name, id }]))
  const found = new Map<string, GgufTensor>()
  const embedding = `${gguf.modules.token_embd}.weight`
  for (const [path, { shape }] of model.namedParameters()) {
    const stored = model.config.tieWordEmbeddings && path === 'lm_head.weight' ? embedding : path
    const tensor = byPath.get(stored)
    const other = unknown.get(stored)
    if (other) problems.push(`${other.name} is of type ${other.id}, which is not known`)
    else if (!tensor) problems.push(`${path} is missing`)
    else if (!sameShape(tensor.shape, shape))
      problems.push(`${tensor.name} must be ${showShape(shape)}, not ${showShape(tensor.shape)}`)
    else if (!ggufDTypes[tensor.type] && !isGgufBlockType(tensor.type))
      problems.push(`${tensor.name} is ${tensor.type}, which is not supported yet`)
    else if (shape.length === 1 && isGgufBlockType(tensor.type))
      problems.push(`${tensor.name} must be a float, not ${tensor.type}`)
    else found.set(path, tensor)
  }
  const parameters = new Set([...model.namedParameters()].map(([path]) => path))
  for (const name of [...file.tensors.keys(), ...file.unsupported.keys()]) {
    if (name !== ropeFactorsName && !parameters.has(modulePath(gguf, name) ?? ''))
      problems.push(`${showName(name)} is not a part of the model`)
  }
  if (problems.length === 0) return found
  const shown =
    problems.slice(0, 6).join('; ') + (problems.length > 6 ? `; and ${problems.length - 6} more` : '')
  throw new FormatError(`${file.name}: the tensors must be those that the metadata describe; ${shown}`)
}

/**
 * How many heads the rows of this parameter belong to, if llama.cpp stores them in its own order; else null.
 */
export function pairedHeads(
  { paired = {} }: GgufFamily,
  path: string,
  config: CausalLMConfig,
): number | null {
  const found = Object.entries(paired).find(([module]) => new RegExp(`\\.${module}\\.\\w+$`).test(path))
  return found ? config[found[1]] : null
}

/**
 * Puts the rows of a query or key projection into Hugging Face's order, where row i of a head rotates with
 * row i + D/2. llama.cpp stores such pairs side by side: row s · D/2 + i of a head is its row 2i + s. Rows
 * are whole blocks and move as they are.
 * Source: llama.cpp, convert_hf_to_gguf.py, LlamaModel.permute.
 * @param bytes rows of equal length, `shape[0]` of them
 */
export function unpermuteRows(bytes: Uint8Array, shape: Shape, heads: number): Uint8Array {
  const rows = shape[0]
  const rowBytes = bytes.length / rows
  const half = rows / heads / 2
  const ordered = new Uint8Array(bytes.length)
  for (let row = 0; row < rows; row++) {
    const head = Math.floor(row / (2 * half))
    const s = Math.floor(row / half) % 2
    const from = head * 2 * half + 2 * (row % half) + s
    ordered.set(bytes.subarray(from * rowBytes, (from + 1) * rowBytes), row * rowBytes)
  }
  return ordered
}
