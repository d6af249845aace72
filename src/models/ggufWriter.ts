import { type FloatDType, isDType, isFloatDType } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import { numel, type Shape } from '../core/shape.ts'
import { ggufFile } from '../formats/containers.ts'
import { type GgufTypeName, ggufTypes } from '../formats/ggufBlocks.ts'
import { type GgufValue, ggufTypeOf, placeGguf } from '../formats/ggufWriter.ts'
import { JsonObject, parseJson } from '../formats/json.ts'
import type { Adaptation, ModelWriter } from '../formats/modelWriter.ts'
import type { TensorHead } from '../formats/tensorFile.ts'
import { add, concat, split, transpose } from '../tensor/ops/index.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { CausalLM, CausalLMConfig } from './causalLM.ts'
import type { GgufFamily } from './families/family.ts'
import { ggufFamilyOf } from './families/index.ts'
import { type GgufRope, ropeInGguf } from './ggufRope.ts'
import { stackExperts } from './ggufStacks.ts'
import { modulesOf, tensorPlace } from './ggufTensors.ts'
import { vocabularyEntries, withoutVocabulary } from './ggufVocabulary.ts'

/**
 * llama.cpp's number of a file that is mostly of a type. Source: llama.cpp, include/llama.h, `llama_ftype`.
 */
const fileTypes: Partial<Record<GgufTypeName, number>> = {
  F32: 0,
  F16: 1,
  Q4_0: 2,
  Q4_1: 3,
  Q8_0: 7,
  Q5_0: 8,
  Q5_1: 9,
  Q2_K: 10,
  Q3_K: 12,
  Q4_K: 15,
  Q5_K: 17,
  Q6_K: 18,
  IQ4_NL: 25,
  IQ4_XS: 30,
  BF16: 32,
  TQ1_0: 36,
  TQ2_0: 37,
  MXFP4: 38,
}

/** Keys whose numbers are floats. */
const floatKeys = /(epsilon|freq_base|freq_base_swa|scale|softcapping)$/

/**
 * Writes a language model as a GGUF file that llama.cpp runs: its tensors under llama.cpp's names, with rows
 * in its order, config and tokenizer as metadata.
 * @param floats what matrices become that are floats; default: as the model has them
 * @param notes further metadata
 * @throws FormatError if llama.cpp has no such model, or no such tokenizer
 */
export function ggufModelWriter(
  model: CausalLM,
  floats?: FloatDType,
  notes: ReadonlyMap<string, GgufValue> = new Map(),
): ModelWriter {
  const name = model.checkpoint?.name ?? 'model'
  const gguf = ggufFamilyOf(model)
  const positions = gguf.rope?.(model.config)
  const rope = positions ? ropeInGguf(positions, gguf.longRope) : { entries: [], factors: {} }
  const vocabulary = vocabularyOf(model)
  const modules = modulesOf(gguf, model.config)
  const placeOf = (path: string) => {
    const found = tensorPlace(modules, path)
    if (found !== null) return found
    throw new FormatError(`gguf: llama.cpp must have a tensor for ${path}; it has none`, { tensor: path })
  }
  return {
    file: ggufFile.file,
    nameOf: (path) => placeOf(path).name,
    adapt: (tensor) => adaptation(model, gguf, placeOf(tensor.name).name, tensor, floats),
    async place(folder, tensors) {
      const factors = Object.entries(rope.factors).map(([name, values]) => factorsTensor(name, values))
      const { heads, placeOf: placeIn } = stackExperts(tensors, placeOf)
      const metadata = new Map<string, GgufValue>([
        ['general.architecture', { type: 'string', value: gguf.architecture }],
        ['general.type', { type: 'string', value: 'model' }],
        ['general.name', { type: 'string', value: baseName(name) }],
        ...configEntries(gguf, model, rope),
        ['general.file_type', { type: 'uint32', value: fileTypeOf(heads) }],
        ['general.quantization_version', { type: 'uint32', value: 2 }],
        ...vocabulary,
        ...notes,
      ])
      const placed = await placeGguf(folder, ggufFile.file, metadata, [
        ...factors.map(({ head }) => head),
        ...heads,
      ])
      for (const { head, bytes } of factors) await placed.put(head.name, 0, bytes)
      return {
        ...placed,
        put(path, start, bytes) {
          const place = placeIn(path)
          return placed.put(place.name, place.start + start, bytes)
        },
      }
    },
  }
}

function baseName(name: string): string {
  return name
    .replace(/\/+$/, '')
    .replace(/^.*\//, '')
    .replace(/\.gguf$/, '')
}

function factorsTensor(name: string, factors: Float32Array): { head: TensorHead; bytes: Uint8Array } {
  const head = { name, dtype: 'float32', shape: [factors.length] } as const
  return { head, bytes: new Uint8Array(factors.buffer, factors.byteOffset, factors.byteLength) }
}

function configEntries(gguf: GgufFamily, model: CausalLM, { entries }: GgufRope): [string, GgufValue][] {
  const numbers = Object.entries(gguf.keys(model.config)).map(([key, value]): [string, GgufValue] => {
    if (typeof value === 'boolean') return [key, { type: 'bool', value }]
    return [key, { type: floatKeys.test(key) ? 'float32' : 'uint32', value }]
  })
  return [...numbers, ...entries].map(([key, value]) => [`${gguf.architecture}.${key}`, value])
}

/** The metadata of the tokenizer that came with the model. */
function vocabularyOf(model: CausalLM): [string, GgufValue][] {
  const { checkpoint, config } = model
  const text = (file: string) => {
    const found = checkpoint?.files.get(file)
    return typeof found === 'function' ? found() : found
  }
  const object = (file: string) => {
    const found = text(file)
    const place = `${checkpoint?.name}/${file}`
    return found === undefined
      ? null
      : new JsonObject(parseJson(new TextEncoder().encode(found), place), place)
  }
  const tokenizer = object('tokenizer.json')
  const template = text('chat_template.jinja')
  const settings = {
    config: {
      ...object('tokenizer_config.json')?.toObject(),
      ...(template !== undefined && { chat_template: template }),
    },
    modelConfig: checkpoint?.config ?? {},
    vocabularySize: config.vocabularySize,
  }
  return tokenizer ? vocabularyEntries(tokenizer, settings) : withoutVocabulary(settings)
}

/**
 * Norms, biases, positions and what scores experts are float32; rows of heads stand in pairs, and GPT-2's matrices the other way.
 */
function adaptation(
  { config }: CausalLM,
  { paired = {}, byHead = [], turned = [], oneRow = [], unitOffset = [] }: GgufFamily,
  name: string,
  { name: path, dtype, shape }: TensorHead,
  floats?: FloatDType,
): Adaptation | null {
  const isOf = (module: string) => path.replace(/\.\w+$/, '').endsWith(`.${module}`)
  const isFloat = isDType(dtype) && isFloatDType(dtype)
  const exact = shape.length === 1 || /^position_embd|\.ffn_gate_inp|_norm\.weight$/.test(name)
  const as: Adaptation = isFloat && (exact || floats) ? { dtype: exact ? 'float32' : floats } : {}
  if (oneRow.some(isOf)) return { ...as, shape: shape.slice(1) }
  const heads = Object.entries(paired).find(([module]) => isOf(module))?.[1]
  if (heads) return { ...as, arrange: (values) => inPairs(values, config[heads]) }
  if (unitOffset.some(isOf)) return { ...as, arrange: (values) => add(values, 1) }
  if (byHead.some(isOf)) return { ...as, arrange: (values) => byParts(values, config) }
  if (isFloat && shape.length === 2 && turned.some(isOf))
    return { ...as, shape: shape.toReversed(), arrange: (values) => transpose(values, 0, 1) }
  return as
}

/**
 * Row s · D/2 + i of a head as its row 2i + s, as llama.cpp turns pairs of rows.
 * Source: llama.cpp, convert_hf_to_gguf.py, LlamaModel.permute.
 * @param values of whole rows, of any dtype
 */
function inPairs(values: Tensor, heads: number): Tensor {
  const rows = values.shape[0]
  const half = rows / heads / 2
  const line = values.numel / rows
  return transpose(values.view([heads, 2, half, line]), 1, 2).view(values.shape)
}

/**
 * Rows of queries, key and value of one key-value head after the other, as those of all queries, all keys and
 * all values.
 * @param values of whole rows, of any dtype
 */
function byParts(values: Tensor, { heads, keyValueHeads }: CausalLMConfig): Tensor {
  const shared = heads / keyValueHeads
  const groups = values.view([keyValueHeads, shared + 2, values.numel / keyValueHeads / (shared + 2)])
  const parts = split(groups, [shared, 1, 1], 1).map((part) => part.view([part.numel]))
  return concat(parts).view(values.shape)
}

/** llama.cpp's number of the type that most bytes of matrices are of. */
function fileTypeOf(tensors: readonly { dtype: TensorHead['dtype']; shape: Shape }[]): number {
  const bytes = new Map<GgufTypeName, number>()
  for (const { dtype, shape } of tensors) {
    const type = ggufTypeOf(dtype)
    if (!type || shape.length < 2) continue
    const block = ggufTypes[type]
    bytes.set(type, (bytes.get(type) ?? 0) + (numel(shape) / block.values) * block.bytes)
  }
  const [most] = [...bytes].toSorted(([, a], [, b]) => b - a)
  return fileTypes[most?.[0] ?? 'F32'] ?? 1
}
