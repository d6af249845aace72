import { ShapeError } from '../../core/errors.ts'
import { Embedding } from '../../nn/embedding.ts'
import type { Module } from '../../nn/module.ts'
import { trace } from '../../nn/trace.ts'
import { scope } from '../../tensor/scope.ts'
import type { CalibratedRun } from '../calibrated/algorithm.ts'
import type { Edits } from '../calibrated/edits.ts'
import { Structure } from '../structure/feeds.ts'
import { isMultiplier } from '../structure/multiplier.ts'
import { headValues, rotateHeads, rotateStream } from '../structure/rotateStreams.ts'
import { streamsOf } from '../structure/streams.ts'
import { rotation } from './hadamard.ts'
import type { RotateOptions } from './rotate.ts'

/**
 * Turns a model as `rotate` says.
 * @throws ShapeError if something in the model sees single channels of what is to be turned
 */
export async function rotateModel(
  { model, device, edits, example }: Pick<CalibratedRun, 'model' | 'device' | 'edits' | 'example'>,
  { hadamard, seed = 0 }: RotateOptions = {},
): Promise<void> {
  if (hadamard !== 'head') untieEmbeddings(model, edits)
  using graph = trace(model, example)
  const structure = new Structure(model, graph)
  if (hadamard !== 'head') {
    const streams = streamsOf(structure)
    const main = streams.reduce((a, b) => (b.writers.size > a.writers.size ? b : a), streams[0])
    if (!main) throw new ShapeError('rotate: layers must add to one another; none do in this model')
    if (main.obstacle)
      throw new ShapeError(
        `rotate: layers must take the residual stream as it is, or after a norm; ${main.obstacle}`,
      )
    for (const stream of streams) {
      if (stream.obstacle) continue
      using R = rotation(device, stream.size, { seed, keepsMean: stream.centred })
      await rotateStream(edits, structure, stream, R)
    }
  }
  if (hadamard === 'residual') return
  const pairs = headValues(structure)
  if (pairs.length === 0 && hadamard === 'head')
    throw new ShapeError(
      'rotate: a layer must take the values of attention as they are; none does in this model',
    )
  for (const pair of pairs) {
    using R = rotation(device, pair.headSize, { seed: seed + 1, keepsMean: false })
    rotateHeads(edits, structure, pair, R)
  }
}

/** Layers that share their weight with an embedding get one of their own. */
function untieEmbeddings(model: Module, edits: Edits): void {
  const tables = new Set<unknown>()
  for (const [, module] of model.namedModules()) if (module instanceof Embedding) tables.add(module.weight)
  for (const [, module] of model.namedModules())
    if (isMultiplier(module) && tables.has(module.weight))
      scope(() => edits.put(module, 'weight', module.weight.clone()))
}
