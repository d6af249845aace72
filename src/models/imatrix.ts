import { ShapeError } from '../core/errors.ts'
import { aFunction, aSignal, aString, check, listOf, wholeNumber } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import type { Importance, ImportanceMatrix } from '../formats/imatrix.ts'
import { Conv1D } from '../nn/gptConv1D.ts'
import { Linear } from '../nn/linear.ts'
import { QWeightModule } from '../nn/qmodule.ts'
import { Statistics } from '../qtensor/quantizer.ts'
import { collectSquares } from '../quantize/ggufQuantizers.ts'
import { scope } from '../tensor/scope.ts'
import { noGrad } from '../tensor/tape.ts'
import { Tensor } from '../tensor/tensor.ts'
import { aCausalLM, type CausalLM } from './causalLM.ts'
import { ggufFamilyOf } from './families/index.ts'
import { modulesOf, type TensorPlace, tensorPlace } from './ggufTensors.ts'

/** How an importance matrix is made. */
export interface ImatrixOptions {
  /** What the file says that it was made of. Default: nothing. */
  datasets?: readonly string[]
  signal?: AbortSignal
  /** Called after each sample. */
  onProgress?: (samples: number, total: number) => void
}

const optionKinds: OptionKinds<ImatrixOptions> = {
  datasets: listOf('names', aString),
  signal: aSignal,
  onProgress: aFunction,
}

/**
 * The importance matrix of a model: the mean squares of what the columns of its layers' weights multiply, by
 * the names that GGUF files have for them. As llama.cpp's, it is of the layers of the blocks, not of the
 * head.
 * @param samples token ids
 * @throws FormatError if llama.cpp has no such model; ShapeError if there are no samples
 */
export async function collectImatrix(
  model: CausalLM,
  samples: readonly (readonly number[])[],
  options: ImatrixOptions = {},
): Promise<ImportanceMatrix> {
  check('collectImatrix', 'model', model, aCausalLM)
  check(
    'collectImatrix',
    'samples',
    samples,
    listOf('lists of token ids', listOf('token ids', wholeNumber(0))),
  )
  checkOptions('collectImatrix', options, optionKinds)
  const { datasets = [], signal, onProgress } = options
  if (samples.length === 0) throw new ShapeError('collectImatrix: samples must be some; received none')
  const places = placesOf(model)
  const collected = new Map<string, Statistics>()
  const ends = [...model.namedModules()].flatMap(([path, module]) => {
    if (!places.has(path)) return []
    const statistics = new Statistics()
    collected.set(path, statistics)
    const input = ([x]: readonly unknown[]) => {
      if (!(x instanceof Tensor) || x.numel === 0) return
      noGrad(() => scope(() => collectSquares(x.view([x.numel / x.size(-1), x.size(-1)]), statistics)))
    }
    return [module.observe({ input })]
  })
  try {
    for (const [i, ids] of samples.entries()) {
      signal?.throwIfAborted()
      scope(() => void model.forward(ids))
      await model.device.sync()
      onProgress?.(i + 1, samples.length)
    }
    const entries = await entriesOf(places, collected)
    const chunkTokens = Math.max(...samples.map((ids) => ids.length))
    return { entries, datasets, chunks: samples.length, chunkTokens }
  } finally {
    for (const end of ends) end()
    for (const statistics of collected.values()) statistics.dispose()
  }
}

/** Where the weights of a model's layers stand in a GGUF file, by the layers' paths. */
function placesOf(model: CausalLM): Map<string, TensorPlace> {
  const modules = modulesOf(ggufFamilyOf(model), model.config)
  const places = new Map<string, TensorPlace>()
  for (const [path, module] of model.namedModules()) {
    const multiplies =
      module instanceof Linear ||
      module instanceof Conv1D ||
      (module instanceof QWeightModule && module.inputRows)
    const place = multiplies ? tensorPlace(modules, `${path}.weight`) : null
    if (place?.name.startsWith('blk.')) places.set(path, place)
  }
  return places
}

/** Experts of a layer are one tensor. */
async function entriesOf(
  places: ReadonlyMap<string, TensorPlace>,
  collected: ReadonlyMap<string, Statistics>,
): Promise<Map<string, Importance>> {
  const entries = new Map<string, Importance>()
  const parts = new Map<string, { squares: number[]; rows: number }[]>()
  for (const [path, { name, expert }] of places) {
    const statistics = collected.get(path)
    const [squares, rows] = [statistics?.get('squares'), statistics?.get('rows')]
    const matrices = parts.get(name) ?? []
    parts.set(name, matrices)
    matrices[expert ?? 0] = {
      squares: squares ? Array.from(await squares.toNumbers()) : [],
      rows: rows ? await rows.item() : 0,
    }
  }
  for (const [name, matrices] of parts) {
    const columns = Math.max(...matrices.map(({ squares }) => squares.length))
    if (columns === 0) continue
    const sums = matrices.flatMap(({ squares }) => (squares.length > 0 ? squares : Array(columns).fill(0)))
    entries.set(name, {
      sums: Float32Array.from(sums),
      counts: Float32Array.from(matrices, ({ rows }) => rows),
    })
  }
  return entries
}
