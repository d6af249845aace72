import { isSavedFile } from '../checkpoints/checkpoint.ts'
import { FormatError } from '../core/errors.ts'
import type { QType } from '../core/qtype.ts'
import type { Device } from '../devices/device.ts'
import { layerError, weightErrors } from '../evaluate/weightError.ts'
import { checkSaveTarget } from '../formats/atomicFolder.node.ts'
import { ggufFile } from '../formats/containers.ts'
import type { CausalLM } from '../models/causalLM.ts'
import { type QuantizedFiles, quantizeFiles, streams } from '../models/quantizeFiles.ts'
import type { Module } from '../nn/module.ts'
import { QWeightModule } from '../nn/qmodule.ts'
import { matrixShape } from '../qtensor/parts.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import type { CalibratedAlgorithmName } from '../quantize/algorithms/index.ts'
import { qualities } from '../quantize/algorithms/quality.ts'
import { ggufCodes, ggufQuantizer } from '../quantize/ggufQuantizers.ts'
import type { LayerOverrides } from '../quantize/overrides.ts'
import { freeze, memoryFootprint, type QuantizeOptions, quantize } from '../quantize/quantize.ts'
import type { QuantizerName } from '../quantize/quantizers.ts'
import { type AlgorithmName, seesData, type WeightsType } from './arguments.ts'
import { type BudgetOptions, hasBudget } from './bitsByBudget.ts'
import { calibrateOnText } from './calibration.ts'
import { type ChartOptions, checkChartOptions, writeChartedPage } from './charts/output.ts'
import { interrupted } from './interrupt.ts'
import { type CommonOptions, loadModel, planModel, withDevice } from './model.ts'
import { formatBytes, formatCount, printJson, printTable, progressBar } from './output.ts'
import { readOverrides } from './overrides.ts'
import { type DataOptions, type QuantizedByData, quantizeByData } from './quantizeByData.ts'
import type { QuantizedLayer } from './report/quantizePage.ts'
import { saveQuantized } from './saveQuantized.ts'
import { withWholeBlocks } from './wholeBlocks.ts'

export interface QuantizeCommandOptions extends CommonOptions, DataOptions, BudgetOptions {
  /** Absent where a budget chooses. */
  weights?: WeightsType
  activations?: QType
  algorithm?: readonly AlgorithmName[]
  groupSize?: number
  include?: string[]
  exclude?: string[]
  /** What is otherwise for some layers. */
  overrides?: LayerOverrides
  format?: string
  out: string
  /** One HTML page of what was done. */
  report?: string
  overwrite?: boolean
}

/**
 * `lowbit quantize`: loads, quantizes, measures the error of each weight, and saves. Weights that are
 * quantized already are dequantized first.
 */
export async function quantizeCommand(
  path: string,
  given: QuantizeCommandOptions & { override?: string[] },
): Promise<void> {
  const options = { ...given, format: formatOf(given), overrides: await readOverrides(given.override) }
  const { out, overwrite } = options
  const names = algorithmsThatSeeData(options)
  // Asked first: a target that cannot be written should not cost the work.
  const file = options.format === 'gguf' ? ggufFile.file : undefined
  await checkSaveTarget(out, { overwrite: overwrite ? isSavedFile : undefined, file })
  await checkChartOptions(pageOptions(options))
  await withDevice(options, async (device) => {
    if (names.length > 0)
      return printByData(await quantizeByData(path, device, names, options), names, options)
    const done =
      (await quantizeStreaming(path, device, options)) ?? (await quantizeLoaded(path, device, options))
    const { model, bytes, floatBytes, format, errors } = done
    const modules = quantizedModules(model, errors)
    const bits = bitsPerWeight(model)
    await writePage(done, modules, [], options)
    if (options.json) return printJson({ out, format, bytes, bitsPerWeight: bits, modules })
    await printTable(
      [
        { head: 'layer' },
        { head: 'weights' },
        { head: 'group', numeric: true },
        { head: 'relative error', numeric: true },
      ],
      modules.map(({ name, weights: type, groupSize: group, error }) => [
        name,
        type,
        String(group ?? 'row'),
        error?.toFixed(5) ?? '–',
      ]),
    )
    const sizes = `weights ${formatBytes(floatBytes)} → ${formatBytes(memoryFootprint(model))}`
    process.stdout.write(
      `\n${sizes}, ${bits.toFixed(2)} bits per weight; wrote ${formatBytes(bytes)} to ${out}\n`,
    )
  })
}

/** The format by its name; undefined where it is the first that holds everything. */
function formatOf(options: QuantizeCommandOptions): string | undefined {
  const { format = 'auto', weights, algorithm, out } = options
  if (format !== 'auto') return format
  const isGguf = typeof weights === 'string' || algorithm?.includes('imatrix') || out.endsWith('.gguf')
  return isGguf ? 'gguf' : undefined
}

/**
 * The algorithms that see data, of those that were asked for.
 * @throws FormatError if these options do not go together
 */
function algorithmsThatSeeData(options: QuantizeCommandOptions): CalibratedAlgorithmName[] {
  const budget = hasBudget(options)
  const { activations, calibration, quality, timeLimit } = options
  const usual = options.format === 'gguf' ? 'imatrix' : 'gptq'
  const { algorithm = budget && !quality ? [usual] : [] } = options
  if (quality && algorithm.length > 0)
    throw new FormatError('quantize: --quality chooses the algorithms; leave --algorithm out')
  if (timeLimit !== undefined && (quality === undefined || quality === 'fast'))
    throw new FormatError('quantize: --time-limit bounds the training of --quality good or best; give one')
  const names = quality ? [...qualities[quality]] : algorithm.filter(seesData)
  if (names.includes('imatrix') && options.format !== 'gguf')
    throw new FormatError(`quantize: --algorithm imatrix goes with --format gguf; received ${options.format}`)
  if (!quality && names.length < algorithm.length && algorithm.length > 1)
    throw new FormatError(
      `quantize: --algorithm must be one quantizer, or algorithms that see data, in their order; received ${algorithm.join(',')}`,
    )
  if (budget && names.length === 0)
    throw new FormatError(
      `quantize: a budget goes with algorithms that see data, such as gptq; received --algorithm ${algorithm.join(',')}`,
    )
  if (names.length > 0 && !calibration)
    throw new FormatError(
      `quantize: ${quality ? `--quality ${quality}` : `--algorithm ${names.join(',')}`} needs --calibration FILE, a text that shows what passes through the model; wikitext2, c4 and pileval stand for the hub's`,
    )
  if (names.length === 0 && !activations !== !calibration) {
    const received = activations ? '--activations' : '--calibration'
    throw new FormatError(
      `quantize: --activations TYPE and --calibration FILE go together, a text that shows how large they get; received ${received} alone`,
    )
  }
  return names
}

/** Says what became of each layer, of the model, and where it lies. */
async function printByData(
  done: QuantizedByData,
  names: readonly string[],
  options: QuantizeCommandOptions,
): Promise<void> {
  const { model, bytes, floatBytes, format, reports, chosen, tokens, samples } = done
  const { out, json } = options
  const bits = bitsPerWeight(model)
  const errors = new Map(reports.map((report) => [report.path, report]))
  const modules = quantizedModules(model, new Map()).map((module) => {
    const { error = null, errorRounded = null, seconds = 0 } = errors.get(module.name) ?? {}
    return { ...module, error, errorRounded, seconds }
  })
  await writePage(done, modules, names, options, done)
  if (json) {
    const { curve, layers, overrides } = chosen ?? {}
    const budget = chosen && { overrides, curve, layers, klDivergence: chosen.klDivergence }
    return printJson({
      out,
      format,
      bytes,
      bitsPerWeight: bits,
      samples,
      tokens,
      modules,
      ...(done.steps && { steps: done.steps }),
      ...(budget && { budget }),
    })
  }
  await printTable(
    [
      { head: 'layer' },
      { head: 'weights' },
      { head: 'group', numeric: true },
      { head: 'output error, rounded', numeric: true },
      { head: 'solved', numeric: true },
    ],
    modules.map(({ name, weights: type, groupSize: group, error, errorRounded }) => [
      ...[name, type, String(group ?? 'row')],
      ...[errorRounded?.toFixed(5) ?? '–', error?.toFixed(5) ?? '–'],
    ]),
  )
  const sizes = `weights ${formatBytes(floatBytes)} → ${formatBytes(memoryFootprint(model))}`
  const seen = `calibrated on ${formatCount(samples)} samples, ${formatCount(tokens)} tokens`
  process.stdout.write(
    `\n${seen}\n${sizes}, ${bits.toFixed(2)} bits per weight; wrote ${formatBytes(bytes)} to ${out} (${format})\n`,
  )
}

/** Where its page goes. */
function pageOptions({ report, overwrite }: QuantizeCommandOptions): ChartOptions {
  return { report, overwrite }
}

/** The error of each layer as a page, where that is asked for. */
async function writePage(
  { model, floatBytes, format }: QuantizedFiles & { model: CausalLM },
  layers: readonly QuantizedLayer[],
  algorithms: readonly string[],
  options: QuantizeCommandOptions,
  { solvedBy = [], steps = null }: Partial<QuantizedByData> = {},
): Promise<void> {
  if (options.report === undefined) return
  const { quantizePage } = await import('./report/quantizePage.ts')
  const sizes = `${formatBytes(floatBytes)} → ${formatBytes(memoryFootprint(model))}, ${bitsPerWeight(model).toFixed(2)} bits per weight`
  const lead = `${model.typeName}, ${algorithms.join(', ') || 'rounded'}, as ${format}: ${sizes}.`
  const page = { title: options.out, lead, layers, algorithms: solvedBy, steps }
  await writeChartedPage((plotting) => quantizePage(plotting, page), pageOptions(options))
}

interface Quantized extends QuantizedFiles {
  model: CausalLM
  errors: Map<string, number>
}

function quantizeOptions(options: QuantizeCommandOptions): QuantizeOptions {
  const { weights, activations, include, exclude, groupSize, overrides, algorithm = [] } = options
  const layers = { activations, include, exclude, overrides }
  if (typeof weights === 'string')
    return { ...layers, weights: ggufCodes(weights), algorithm: ggufQuantizer(weights), groupSize: null }
  const [quantizer] = algorithm as readonly QuantizerName[]
  // A budget in its place comes with algorithms that see data.
  return { ...layers, weights: weights as QType, groupSize, algorithm: quantizer }
}

/** From file to file, tensor by tensor; null where the whole model is needed. */
async function quantizeStreaming(
  path: string,
  device: Device,
  options: QuantizeCommandOptions,
): Promise<Quantized | null> {
  const plan = await planModel(path, options)
  try {
    const floats = plan.scheme !== 'none'
    const quantization = quantizeOptions(options)
    const { calibration, format } = options
    if (calibration || format === 'gguf' || !streams(plan, floats, quantization)) return null
    const errors = new Map<string, number>()
    const bar = await progressBar('quantize', options)
    const { dtype, overwrite } = options
    const done = await quantizeFiles(plan, options.out, floats, {
      ...{ device, dtype, format, overwrite, quantization, signal: interrupted, onProgress: bar.update },
      onWarning: (message) => console.warn(`lowbit: ${message}`),
      onWeight: async (name, layer, float) => void errors.set(name, await layerError(layer, float)),
    }).finally(bar.stop)
    return { ...done, model: plan.model, errors }
  } finally {
    await plan.close()
  }
}

/** With the whole model in memory: what calibrates has to run it. */
async function quantizeLoaded(
  path: string,
  device: Device,
  options: QuantizeCommandOptions,
): Promise<Quantized> {
  const model = await loadModel(path, device, options, { dequantize: true })
  const floatBytes = memoryFootprint(model)
  quantize(model, quantizeOptions(withWholeBlocks(model, options)))
  const { calibration } = options
  if (calibration) await calibrateOnText(model, path, calibration, options)
  const quantizing = await progressBar('quantize', options)
  const errors = await weightErrors(model, { signal: interrupted, onProgress: quantizing.update }).finally(
    quantizing.stop,
  )
  freeze(model)
  return { model, floatBytes, errors, ...(await saveQuantized(model, options)) }
}

/** Each quantized module, with the error of its weight. */
function quantizedModules(model: Module, errors: Map<string, number>) {
  return [...model.namedModules()].flatMap(([name, module]) => {
    if (!(module instanceof QWeightModule)) return []
    const { qtype, groupSize } = typesOf(module)
    return [
      {
        name,
        weights: qtype.name,
        activations: module.activations?.name ?? 'none',
        groupSize,
        error: errors.get(name) ?? null,
      },
    ]
  })
}

/** What the codes of a layer are, which its quantizer may have chosen, or will be. */
function typesOf({ weight, quantization }: QWeightModule): { qtype: QType; groupSize: number | null } {
  if (!(weight instanceof QTensor) || weight.block.kind !== 'group') return quantization
  const [, columns] = matrixShape(weight.shape)
  return { qtype: weight.qtype, groupSize: weight.block.size < columns ? weight.block.size : null }
}

/** Bits of all parameters, scales included, for each weight that they stand for. */
function bitsPerWeight(model: Module): number {
  let weights = 0
  for (const parameter of model.parameters()) weights += parameter.numel
  return (8 * memoryFootprint(model)) / weights
}
