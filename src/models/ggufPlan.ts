import { openFile } from '#files'
import { host } from '#host'
import { detectFile } from '../checkpoints/detect.ts'
import { renamed } from '../checkpoints/names.ts'
import { type LoadPlan, planTensors } from '../checkpoints/plan.ts'
import { longestList, unstacked } from '../checkpoints/stacks.ts'
import { viewAs } from '../core/dtype.ts'
import { FormatError } from '../core/errors.ts'
import { type GgufFile, openGguf } from '../formats/gguf.ts'
import { placeOfPart, withOtherParts } from '../formats/ggufSplit.ts'
import { pythonJson } from '../formats/json.ts'
import type { ByteSource, OpenOptions } from '../formats/source.ts'
import type { CausalLM } from './causalLM.ts'
import { emptyModel } from './families/index.ts'
import { ggufConfig } from './ggufConfig.ts'
import type { RopeFactors } from './ggufRope.ts'
import { inModelOrder } from './ggufRows.ts'
import { longRopeNames, modulePath, modulesOf, ropeFactorsName } from './ggufTensors.ts'
import { ggufTokenizer } from './ggufTokenizer.ts'
import { checkVocabulary } from './sideFiles.ts'
import { Tokenizer } from './tokenizer.ts'

/**
 * The model of a GGUF file: everything but the weights is read. Takes over `source`.
 * @param place its path or URL, beside which the other files of a model lie that is split into several
 * @throws FormatError if the file is broken, its parts do not fit each other, or its architecture or types
 * are not supported
 */
export async function planGguf(
  source: ByteSource,
  place?: string,
  options: OpenOptions = {},
): Promise<LoadPlan<CausalLM>> {
  const open = place === undefined ? undefined : (part: number) => openFile(placeOfPart(place, part), options)
  const file = await withOtherParts(await openGguf(source), open)
  try {
    const warnings = new Set<string>()
    const warn = (message: string) => void warnings.add(message)
    const { config, gguf } = ggufConfig(file, await readRopeFactors(file), warn)
    const model = emptyModel(config, warn)
    await host.turn()
    const modules = modulesOf(gguf, model.config)
    const byPath = renamed(file, (name) => modulePath(modules, name))
    const apart = unstacked(
      byPath,
      (path) => (path.includes('.E.') ? { parts: [path] } : null),
      () => longestList(model),
    )
    const named = inModelOrder(apart, gguf, model.config)
    await host.turn()
    const tensors = await planTensors(model, named, await detectFile(named), {
      described: 'the metadata describe',
      isExtra: (name) => [ropeFactorsName, longRopeNames.short, longRopeNames.long].includes(name),
      warn,
    })
    await host.turn()
    await addSideFiles(file, model, config.toObject(), warn)
    return { name: file.name, model, warnings: [...warnings], ...tensors }
  } catch (error) {
    await file.close()
    throw error
  }
}

async function readRopeFactors(file: GgufFile): Promise<RopeFactors> {
  const [short, long] = [
    await readFactors(file, longRopeNames.short),
    await readFactors(file, longRopeNames.long),
  ]
  return short && long ? { short, long } : await readFactors(file, ropeFactorsName)
}

async function readFactors(file: GgufFile, name: string): Promise<number[] | null> {
  const tensor = file.tensors.get(name)
  if (!tensor) return null
  // One number for every pair of a head, which has at most 2^16 rows.
  if (tensor.dtype !== 'float32' || tensor.byteLength > 2 ** 17) {
    const received = `${tensor.dtype} of ${tensor.byteLength} bytes`
    throw new FormatError(
      `${file.name}: ${name} must be F32, one number for every pair of a head; it is ${received}`,
      {
        tensor: tensor.name,
      },
    )
  }
  return Array.from(viewAs('float32', await file.read(name)), Number)
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
    model.tokenizer = await Tokenizer.lazy(parts.parts, parts.config, parts.vocabularySize, file.name)
    checkVocabulary(model, file.name, warn)
    files.set('tokenizer.json', () => pythonJson(parts.tokenizer(), 2))
    files.set('tokenizer_config.json', pythonJson(parts.config, 2))
  }
  model.checkpoint = { name: file.name, config, files }
}
