import { openFolder } from '#files'
import { several } from '../core/lists.ts'
import { readJson } from '../formats/json.ts'
import type { CalibratedAlgorithm } from '../quantize/calibrated/algorithm.ts'
import {
  type AwqConfig,
  type CalibratedConfig,
  type CalibratedQuantization,
  checkAwqConfig,
  checkGptqConfig,
  type GptqConfig,
} from './calibratedConfigs.ts'
import type { CausalLM } from './causalLM.ts'
import { type CalibratedOptions, quantizeCalibrated } from './quantizeCalibrated.ts'
import { Tokenizer } from './tokenizer.ts'

/** A method that is checked: quantizes a model that holds its floats. */
export type CalibratedMethod = (
  model: CausalLM,
  options: Pick<CalibratedOptions, 'signal'> & { onWarning: (message: string) => void },
) => Promise<void>

/** Checks a method's options, of which `operation` tells, before there is a model. */
const methods: Readonly<
  Record<CalibratedQuantization['method'], (operation: string, options: unknown) => CalibratedMethod>
> = {
  gptq(operation, options) {
    const config = checkGptqConfig(operation, options)
    return (model, run) => quantizeBy(operation, model, config, gptqOptions(model, config), run)
  },
  awq(operation, options) {
    const config = checkAwqConfig(operation, options)
    return (model, run) => quantizeBy(operation, model, config, awqOptions(model, config), run)
  },
}

/**
 * The method of a quantization.
 * @throws ShapeError or DTypeError for options that it does not have
 */
export function calibratedMethod(
  operation: string,
  { method, ...options }: CalibratedQuantization,
): CalibratedMethod {
  return methods[method](operation, options)
}

/** What the libraries' configs say, as `quantizeCalibrated` takes it. */
interface Planned extends Pick<CalibratedOptions, 'blocks' | 'include' | 'exclude' | 'packing' | 'length'> {
  makeAlgorithm(): Promise<CalibratedAlgorithm>
}

function gptqOptions(model: CausalLM, config: GptqConfig): Planned {
  const { descAct = false, actGroupAware = true, modelSeqlen, blockNameToQuantize } = config
  const { bits, groupSize, dampPercent = 0.1, sym: symmetric, trueSequential } = config
  const actOrder = descAct || (actGroupAware && 'group-aware')
  const named = config.modulesInBlockToQuantize?.flat().map((name) => `*.${name}`)
  return {
    makeAlgorithm: async () => {
      const { gptq } = await import('../quantize/algorithms/gptq.ts')
      return gptq({ bits, groupSize, dampPercent, symmetric, trueSequential, actOrder })
    },
    blocks: blockNameToQuantize ? `${blockNameToQuantize}.*` : undefined,
    include: config.include ?? named ?? layersOfBlocks(model),
    exclude: config.exclude,
    // optimum takes each text of a list as a sample of its own.
    packing: config.packing ?? typeof config.dataset === 'string',
    length: config.length ?? modelSeqlen ?? undefined,
  }
}

function awqOptions(model: CausalLM, config: AwqConfig): Planned {
  const { bits = 4, groupSize = 128, zeroPoint = true, duoScaling, clip } = config
  const left = config.modulesToNotConvert?.map((name) => `*${name}*`) ?? []
  return {
    makeAlgorithm: async () => {
      const { awq } = await import('../quantize/algorithms/awq.ts')
      return awq({ bits, groupSize, symmetric: !zeroPoint, duoScaling, clip })
    },
    include: config.include ?? layersOfBlocks(model),
    exclude: [...[config.exclude ?? []].flat(), ...left],
    packing: config.packing,
    length: config.length ?? Math.min(512, model.config.maxPositions),
  }
}

/** What Python's libraries quantize: layers that stand in a list, as those of a decoder's layers do. */
function layersOfBlocks(model: CausalLM): string[] {
  return [...model.namedModules()].map(([path]) => path).filter((path) => /\.\d+\./.test(path))
}

/** Options that choose among Python's kernels, or say how large its buffers are. */
const withoutEffect = [
  ...['backend', 'useExllama', 'disableExllama', 'exllamaConfig', 'useCudaFp16'],
  ...['maxInputLength', 'batchSize', 'padTokenId', 'cacheBlockOutputs'],
] as const satisfies (keyof CalibratedConfig)[]

async function quantizeBy(
  operation: string,
  model: CausalLM,
  config: CalibratedConfig,
  { makeAlgorithm, ...planned }: Planned,
  run: Parameters<CalibratedMethod>[1],
): Promise<void> {
  const unused = withoutEffect.filter((name) => config[name] !== undefined && config[name] !== null)
  if (unused.length > 0)
    run.onWarning(
      `${operation}: ${several(unused)} say which kernels and buffers Python takes; here one kernel reads all of these codes, and they change nothing`,
    )
  const { samples, seed, onProgress } = config
  await quantizeCalibrated(model, {
    ...{ ...planned, ...run, samples, seed, onProgress },
    algorithm: await makeAlgorithm(),
    data: config.dataset === 'c4-new' ? 'c4' : config.dataset,
    tokenizer: typeof config.tokenizer === 'string' ? await tokenizerOf(config.tokenizer) : config.tokenizer,
  })
}

/** The tokenizer of a folder, a URL or a hub id. */
async function tokenizerOf(place: string): Promise<Tokenizer> {
  const folder = await openFolder(place)
  const json = await readJson(folder, 'tokenizer.json')
  const file = 'tokenizer_config.json'
  const settings = (await folder.has(file)) ? (await readJson(folder, file)).toObject() : {}
  return Tokenizer.fromJson(json.toObject(), settings, `${folder.name}/tokenizer.json`)
}
