import type { Module } from '../../nn/module.ts'
import { weightColumns } from '../../nn/twins.ts'
import type { QTensor } from '../../qtensor/qtensor.ts'
import { Tensor } from '../../tensor/tensor.ts'
import type { CalibratedLayer } from './algorithm.ts'
import { type ExpertRows, expertsOf } from './expertRows.ts'
import { LayerInputs } from './layerInputs.ts'
import { outputError, scaleDtypeOfRun, solved, weightRows } from './solve.ts'
import { endPass, type LayerGroup, type Stage } from './stage.ts'
import type { Stream } from './stream.ts'

/** What became of a layer. */
export interface CalibratedReport {
  path: string
  /**
   * ‖y − ŷ‖₂ / ‖y‖₂ of the layer's output y for some of the rows that reached it: where its weight, as it was,
   * is rounded to nearest, and as it was solved. Null where nothing was seen, as of embeddings.
   */
  errorRounded: number | null
  error: number | null
  /** Rows of inputs that its statistics are of. */
  tokens: number
  /** What solving took. */
  seconds: number
}

/** What solving a stage needs of the run. */
export interface StageWork {
  readonly model: Module
  readonly stage: Stage
  readonly samples: number
  /** Solves a group, and sees what its layers give before the statistics of the next are collected. */
  readonly trueSequential: boolean
  /** Codes that an algorithm chose itself, by path. */
  readonly settled: ReadonlyMap<string, QTensor>
  warn(message: string): void
  readonly quantized: Stream
  /** The same samples in the float model, where a quantizer wants to see what its layers take there. */
  readonly float: Stream | null
}

/** Samples from whose inputs errors are measured where nothing else has to be seen. */
const measuredSamples = 8

/**
 * Solves the layers of a stage and puts their twins in place.
 * @param rounded errors of rounding, where they were measured before
 */
export async function solveStage(
  work: StageWork,
  rounded: ReadonlyMap<string, number>,
): Promise<CalibratedReport[]> {
  const { stage, trueSequential } = work
  const turns = trueSequential ? turnsOf(stage) : [stage.groups]
  const reports: CalibratedReport[] = []
  for (const groups of turns) {
    const inputs = await collect(work, groups)
    try {
      await work.quantized.checkFinite(stage, inputs)
      warnOfExperts(work, inputs)
      for (const of of inputs)
        for (const layer of of.group) reports.push(await solveLayer(work, layer, of, rounded.get(layer.path)))
    } finally {
      for (const of of inputs) of.dispose()
    }
  }
  return reports
}

/** The error of rounding of each layer of a stage as it is, from a few samples. */
export async function roundingErrors(work: StageWork): Promise<Map<string, number>> {
  const inputs = await collect(work, work.stage.groups, false)
  const errors = new Map<string, number>()
  try {
    for (const of of inputs)
      for (const layer of of.group) {
        const error = await roundingError(layer, of)
        if (error !== null) errors.set(layer.path, error)
      }
    return errors
  } finally {
    for (const of of inputs) of.dispose()
  }
}

/** What groups take, of all samples where a quantizer collects, else of a few. */
async function collect(
  { stage, samples, quantized, float, settled }: StageWork,
  groups: readonly LayerGroup[],
  statistics = true,
): Promise<LayerInputs[]> {
  const collects =
    statistics &&
    groups.some(({ layers }) => layers.some(({ path, twin }) => twin.collects && !settled.has(path)))
  const count = collects ? samples : Math.min(samples, measuredSamples)
  const { experts, byLayer } = expertsOf(stage.module)
  const inputs = groups.map(
    ({ layers }) => new LayerInputs(layers, count, statistics, byLayer.get(layers[0].float)),
  )
  const passFloat = async (i: number) => {
    for (const of of inputs) of.hear(true)
    const y = await float?.pass(stage, i)
    if (y instanceof Tensor) y.dispose()
    for (const of of inputs) of.hear(false)
  }
  // Nobody needs what comes behind the last of them.
  const ends = groups.every(({ calls }) => calls === 1)
  const observations = [...experts].map(([expert, rows]) => rows.watch(expert))
  const [group] = groups
  const keeping = collects && groups.length === 1 && quantized.kept.add(group, group.layers[0].float)
  if (keeping) observations.push(keeping)
  try {
    for (const [i, of] of inputs.entries())
      observations.push(of.watch(ends && i === inputs.length - 1 ? endPass : undefined))
    if (inputs.some(({ seen }) => seen))
      await quantized.through(stage, {
        count,
        before: collects && float ? passFloat : undefined,
        after: keeping ? (i) => quantized.kept.put(i) : undefined,
      })
    for (const of of inputs) await of.finish()
    return inputs
  } catch (error) {
    for (const of of inputs) of.dispose()
    throw error
  } finally {
    for (const end of observations) end()
  }
}

/**
 * Groups that are solved one after the other. Experts do not hear of one another: the first groups of all of
 * them are solved together, then the second ones.
 */
function turnsOf({ module, groups }: Stage): LayerGroup[][] {
  const { byLayer } = expertsOf(module)
  const turns = new Map<string, LayerGroup[]>()
  const seen = new Map<ExpertRows, number>()
  for (const [i, group] of groups.entries()) {
    const expert = byLayer.get(group.layers[0].float)
    const place = expert ? (seen.get(expert) ?? 0) : 0
    if (expert) seen.set(expert, place + 1)
    const turn = expert ? `${expert.of} ${place}` : `${i}`
    turns.set(turn, [...(turns.get(turn) ?? []), group])
  }
  return [...turns.values()]
}

/** Says which experts saw less than a quarter of what would tell their columns apart. */
function warnOfExperts({ warn }: StageWork, inputs: readonly LayerInputs[]): void {
  const few = new Map<string, number>()
  for (const { expert, group, tokens } of inputs) {
    const [{ float, twin }] = group
    if (!expert || !twin.collects || tokens >= weightColumns(float, float.weight) / 4) continue
    few.set(expert.path, Math.min(tokens, few.get(expert.path) ?? Infinity))
  }
  if (few.size === 0) return
  const listed = [...few].map(([path, tokens]) => `${path} ${tokens}`).join(', ')
  warn(
    `quantizeCalibrated: experts saw few tokens, and are rounded where none came: ${listed}; take more data`,
  )
}

async function solveLayer(
  { model, stage, quantized, settled }: StageWork,
  layer: CalibratedLayer,
  inputs: LayerInputs,
  rounded: number | undefined,
): Promise<CalibratedReport> {
  const start = performance.now()
  const { float, twin, path } = layer
  const statistics = twin.collects && inputs.tokens > 0 ? inputs.statistics : null
  const weight = settled.get(path) ?? solved(layer, statistics, scaleDtypeOfRun(layer))
  await weight.device.sync()
  const seconds = (performance.now() - start) / 1000
  const measured = inputs.tokens > 0
  const errorRounded = rounded ?? (await roundingError(layer, inputs))
  const error = measured
    ? await outputError(
        () => inputs.rows(),
        () => weightRows(layer),
        weight,
      )
    : null
  if (Number.isNaN(error) || Number.isNaN(errorRounded)) {
    weight.dispose()
    await quantized.blame(stage, `weights must be finite; what ${path} is quantized to is not`)
  }
  twin.weight = weight
  twin.bias = float.bias
  twin.training = float.training
  model.replaceModules(new Map([[float as Module, twin as Module]]))
  return { path, errorRounded, error, tokens: inputs.tokens, seconds }
}

async function roundingError(layer: CalibratedLayer, inputs: LayerInputs): Promise<number | null> {
  if (inputs.tokens === 0) return null
  const weight = solved(layer, null)
  return outputError(
    () => inputs.rows(),
    () => weightRows(layer),
    weight,
  ).finally(() => weight.dispose())
}
