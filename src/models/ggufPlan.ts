import { openFile } from '#files'
import { viewAs } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import { type QType, qint4, qint5, qint8 } from '../core/qtype.ts'
import type { Device } from '../devices/device.ts'
import { type GgufFile, type GgufTensor, openGguf } from '../formats/gguf.ts'
import { type GgufBlockType, ggufDTypes, ggufGroupSize, isGgufBlockType } from '../formats/ggufBlocks.ts'
import { placeOfPart, withOtherParts } from '../formats/ggufSplit.ts'
import { pythonJson } from '../formats/json.ts'
import type { ByteSource } from '../formats/source.ts'
import { Embedding } from '../nn/embedding.ts'
import { Linear } from '../nn/linear.ts'
import { QEmbedding } from '../nn/qembedding.ts'
import { QLinear } from '../nn/qlinear.ts'
import { defaultQuantizer } from '../quantize/quantizers.ts'
import type { CausalLM } from './causalLM.ts'
import type { GgufFamily } from './families/family.ts'
import { emptyModel } from './families/index.ts'
import { ggufConfig } from './ggufConfig.ts'
import { ggufPaths, matchGgufTensors, pairedHeads, ropeFactorsName } from './ggufTensors.ts'
import { ggufTokenizer } from './ggufTokenizer.ts'
import { readGgufBlocks, readGgufFloat } from './ggufWeights.ts'
import {
  checkVocabulary,
  dropAbsentBiases,
  type LoadPlan,
  type PlannedParameter,
  parameterPaths,
  parentOf,
} from './plan.ts'
import { Tokenizer } from './tokenizer.ts'

/** The quantized type that holds the codes of each block type. */
const blockQTypes: Record<GgufBlockType, QType> = {
  Q4_0: qint4,
  Q4_1: qint4,
  Q5_0: qint5,
  Q5_1: qint5,
  Q8_0: qint8,
}

/**
 * The model of a GGUF file: everything but the weights is read. Takes over `source`.
 * @param place its path or URL, beside which the other files of a model lie that is split into several
 * @throws FormatError if the file is broken, its parts do not fit each other, or its architecture or types
 * are not supported
 */
export async function planGguf(source: ByteSource, place?: string): Promise<LoadPlan> {
  const open = place === undefined ? undefined : (part: number) => openFile(placeOfPart(place, part))
  const file = await withOtherParts(await openGguf(source), open)
  try {
    const warnings = new Set<string>()
    const warn = (message: string) => void warnings.add(message)
    const { config, gguf } = ggufConfig(file, await readRopeFactors(file), warn)
    const model = emptyModel(config, warn)
    const paths = ggufPaths(gguf, file)
    dropAbsentBiases(model, (path) => paths.has(path), file.name, warn)
    const tensors = matchGgufTensors(model, gguf, file)
    quantizeModules(model, tensors)
    const staging: Uint8Array[] = []
    const parameters = [...parameterPaths(model).values()].map(([path]) =>
      planParameter(model, gguf, file, path, tensors.get(path), staging),
    )
    const quantized = [...tensors.values()].some(({ type }) => isGgufBlockType(type))
    await addSideFiles(file, model, config.toObject(), warn)
    const scheme = quantized ? 'gguf' : 'none'
    return { name: file.name, model, scheme, parameters, warnings: [...warnings], close: () => file.close() }
  } catch (error) {
    await file.close()
    throw error
  }
}

async function readRopeFactors(file: GgufFile): Promise<number[] | null> {
  const tensor = file.tensors.get(ropeFactorsName)
  if (!tensor) return null
  // One number for every pair of a head, which has at most 2^16 rows.
  if (tensor.type !== 'F32' || tensor.byteLength > 2 ** 17) {
    const received = `${tensor.type} of ${tensor.byteLength} bytes`
    throw new FormatError(
      `${file.name}: ${ropeFactorsName} must be F32, one number for every pair of a head; it is ${received}`,
      {
        tensor: tensor.name,
      },
    )
  }
  return Array.from(viewAs('float32', await file.read(ropeFactorsName)), Number)
}

/** Puts quantized twins where the file holds blocks; a tied head and embedding share theirs. */
function quantizeModules(model: CausalLM, tensors: ReadonlyMap<string, GgufTensor>): void {
  for (const [path, { type }] of tensors) {
    if (!isGgufBlockType(type)) continue
    const module = model.getModule(parentOf(path))
    const qtype = blockQTypes[type]
    const quantization = { qtype, groupSize: ggufGroupSize, quantizer: defaultQuantizer(qtype) }
    if (module instanceof Embedding) model.setModule(parentOf(path), new QEmbedding(module, quantization))
    else if (module instanceof Linear) model.setModule(parentOf(path), new QLinear(module, quantization))
  }
}

function planParameter(
  model: CausalLM,
  gguf: GgufFamily,
  file: GgufFile,
  path: string,
  tensor: GgufTensor | undefined,
  staging: Uint8Array[],
): PlannedParameter {
  if (!tensor) throw new FormatError(`${file.name}: ${path} is missing`)
  const { type, shape, byteLength } = tensor
  const weight = { file, tensor, heads: pairedHeads(gguf, path, model.config), staging }
  if (!isGgufBlockType(type)) {
    return {
      path,
      shape,
      kind: ggufDTypes[type] ?? type,
      byteLength,
      load: (device, dtype) => readGgufFloat(device, weight, dtype),
    }
  }
  const qtype = blockQTypes[type]
  const load = (device: Device) => readGgufBlocks(device, weight, type, qtype)
  const kind = `${type} (${qtype.name}, groups of ${ggufGroupSize})`
  const block = { kind: 'group', size: ggufGroupSize } as const
  const facts = { qtype, shape, block, offset: qtype.unsigned ? 'shift' : null } as const
  return { path, shape, kind, weight: facts, byteLength, load }
}

/** Tokenizer, end-of-text ids, and the files to be saved along. */
async function addSideFiles(
  file: GgufFile,
  model: CausalLM,
  config: Readonly<Record<string, unknown>>,
  warn: (message: string) => void,
): Promise<void> {
  const files = new Map<string, string | (() => string)>()
  const generation = {
    bos_token_id: config.bos_token_id,
    eos_token_id: model.eosTokenIds,
    pad_token_id: config.pad_token_id,
  }
  files.set('generation_config.json', pythonJson(generation, 2))
  const parts = ggufTokenizer(file.metadata, warn)
  if (parts) {
    model.tokenizer = await Tokenizer.lazy(parts.tokenizer, parts.config, parts.vocabularySize, file.name)
    checkVocabulary(model, file.name, warn)
    files.set('tokenizer.json', () => pythonJson(parts.tokenizer(), 2))
    files.set('tokenizer_config.json', pythonJson(parts.config, 2))
  }
  model.checkpoint = { name: file.name, config, files }
}
