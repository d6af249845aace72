import type { LoadPlan } from '../checkpoints/plan.ts'
import { ShapeError } from '../core/errors.ts'
import { numel, sameShape, showShape } from '../core/shape.ts'
import { layerError, relativeError } from '../evaluate/weightError.ts'
import type { CausalLM } from '../models/causalLM.ts'
import { Embedding } from '../nn/embedding.ts'
import { Conv1D } from '../nn/gptConv1D.ts'
import { Linear } from '../nn/linear.ts'
import { parentPath } from '../nn/module.ts'
import { QWeightModule } from '../nn/qmodule.ts'
import { weightShape } from '../nn/twins.ts'
import type { WeightFacts } from '../qtensor/parts.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { interrupted } from './interrupt.ts'
import { type CommonOptions, loadModel, planModel, withDevice } from './model.ts'
import { formatBytes, formatCount, printJson, printTable, progressBar } from './output.ts'
import type { InspectedTensor, ReportData } from './report/data.ts'
import { checkReportOptions, drawsReport, type ReportOptions } from './report/options.ts'

/** How a layer's activations are quantized. */
interface InspectedActivations {
  name: string
  /** Quantized type. */
  type: string
  /** x ≈ scale · code, 1 where it was never calibrated; null where inputs, or outputs, stay float. */
  inputScale: number | null
  outputScale: number | null
}

/** `lowbit inspect`: every tensor as it is saved and computed with. Without a baseline no weight is read. */
export async function inspectCommand(
  path: string,
  options: CommonOptions & ReportOptions & { baseline?: string },
): Promise<void> {
  await checkReportOptions(options)
  const plan = await planModel(path, options)
  const activations = await activationsOf(plan).finally(() => plan.close())
  for (const message of plan.warnings) console.warn(`lowbit: ${message}`)
  const tensors = [...describe(plan)]
  const { baseline } = options
  let measured: Pick<ReportData, 'histograms' | 'text'> | undefined
  if (baseline !== undefined) {
    const report = drawsReport(options) ? await import('./report/collect.ts') : null
    await withDevice(options, async (device) => {
      const model = await loadModel(path, device, options)
      const float = await loadModel(baseline, device, options, { dequantize: true })
      await addErrors(tensors, model, float, options)
      measured = await report?.measure(model, float, tensors, options)
    })
  }
  const bytes = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0)
  const weights = tensors.reduce((sum, tensor) => sum + numel(tensor.shape), 0)
  const { scheme } = plan
  const architecture = plan.model.typeName
  const bitsPerWeight = (8 * bytes) / weights
  const data = { architecture, scheme, bytes, bitsPerWeight, tensors, ...measured }
  if (measured && (options.report !== undefined || options.charts !== undefined)) {
    const { writeReport } = await import('./report/report.ts')
    await writeReport({ ...data, ...measured, model: path, baseline: String(baseline) }, options)
  }
  if (options.json) return printJson({ ...data, activations })
  process.stdout.write(`${plan.model}\n\n`)
  const head = [
    { head: 'tensor' },
    { head: 'shape', numeric: true },
    { head: 'kind' },
    { head: 'bytes', numeric: true },
    { head: 'kernel' },
  ]
  await printTable(
    baseline === undefined ? head : [...head, { head: 'relative error', numeric: true }],
    tensors.map(({ name, shape, kind, bytes: size, kernel, error }) => {
      const row = [name, shape.join(' × '), kind, formatCount(size), kernel]
      return error === undefined ? row : [...row, error.toFixed(5)]
    }),
  )
  if (activations.length > 0) await printActivations(activations)
  const sizes = `${formatCount(weights)} weights in ${formatBytes(bytes)}, ${bitsPerWeight.toFixed(2)} bits per weight`
  process.stdout.write(
    `\n${architecture}, ${scheme === 'none' ? 'not quantized' : `quantized by ${scheme}`}: ${sizes}\n`,
  )
}

/** The tensors in the order of the model's modules; a tied one once, with the kernels of all its uses. */
function describe({ model, parameters }: LoadPlan<CausalLM>): InspectedTensor[] {
  return parameters.map(({ path, shape, kind, weight, byteLength }) => {
    return {
      name: path,
      shape,
      kind,
      bytes: byteLength,
      kernel: kernels(model, path, weight),
    }
  })
}

async function activationsOf(plan: LoadPlan): Promise<InspectedActivations[]> {
  const scales = await plan.scales()
  return scales.map(({ path, module, input_scale, output_scale }) => ({
    name: path,
    type: module.activations?.name ?? 'none',
    inputScale: module.inputQuantized ? (input_scale ?? null) : null,
    outputScale: module.outputQuantized ? (output_scale ?? null) : null,
  }))
}

async function printActivations(activations: readonly InspectedActivations[]): Promise<void> {
  const shown = (scale: number | null) =>
    scale === null ? 'float' : scale === 1 ? 'not calibrated' : scale.toPrecision(4)
  process.stdout.write('\n')
  await printTable(
    [
      { head: 'layer' },
      { head: 'activations' },
      { head: 'scale of inputs', numeric: true },
      { head: 'scale of outputs', numeric: true },
    ],
    activations.map(({ name, type, inputScale, outputScale }) => [
      name,
      type,
      shown(inputScale),
      shown(outputScale),
    ]),
  )
}

/** Layers that multiply their weight. */
const multiplies = [Linear, Conv1D]

/** What reads a matrix in the layers that hold it, as they compute in `forward`. */
function kernels(model: CausalLM, path: string, weight?: WeightFacts): string {
  const parameter = model.getParameter(path)
  if (parameter.shape.length !== 2) return ''
  const names = [...model.namedModules()].flatMap(([, module]) => {
    if (!('weight' in module) || module.weight !== parameter) return []
    if (weight && module instanceof QWeightModule) return [module.kernelFor(weight)]
    if (module instanceof Embedding) return ['embedding']
    return multiplies.some((layer) => module instanceof layer) ? ['gemm'] : []
  })
  return [...new Set(names)].join(', ')
}

async function addErrors(
  tensors: InspectedTensor[],
  model: CausalLM,
  baseline: CausalLM,
  options: CommonOptions,
): Promise<void> {
  const bar = await progressBar('compare', options)
  try {
    for (const [index, tensor] of tensors.entries()) {
      interrupted.throwIfAborted()
      const [original, held] = [baseline.getParameter(tensor.name), model.getParameter(tensor.name)]
      const place = parentPath(tensor.name)
      const layer = model.getModule(place)
      const coded = layer instanceof QWeightModule && layer.frozen && layer.weight === held
      const shape = coded ? weightShape(baseline.getModule(place), original) : original.shape
      if (!sameShape(shape, held.shape)) {
        const shapes = `${showShape(shape)} and ${showShape(held.shape)}`
        throw new ShapeError(
          `inspect: the baseline must be the same model in floats; its ${tensor.name} differs: ${shapes}`,
        )
      }
      tensor.error = coded ? await layerError(layer, original as Tensor) : await relativeError(original, held)
      bar.update(index + 1, tensors.length)
    }
  } finally {
    bar.stop()
  }
}
