import { qint8 } from '../../core/qtype.ts'
import type { Observation } from '../../nn/observe.ts'
import { trace } from '../../nn/trace.ts'
import { chooseScales, roundRows, symmetricRange } from '../../qtensor/rows.ts'
import { add, concat, div, embedding, exp, log, mul, reduce, transpose } from '../../tensor/ops/index.ts'
import { matmulTransposed } from '../../tensor/ops/matmulTransposed.ts'
import { keep, scope } from '../../tensor/scope.ts'
import { noGrad } from '../../tensor/tape.ts'
import { Tensor } from '../../tensor/tensor.ts'
import type { CalibratedRun } from '../calibrated/algorithm.ts'
import { type Feed, Structure } from '../structure/feeds.ts'
import { mappedFeeds } from '../structure/mappings.ts'
import { type Multiplier, weightRows } from '../structure/multiplier.ts'
import { scaleFeed } from '../structure/scaleFeed.ts'
import { outputError } from './awqScales.ts'
import type { SmoothQuantOptions } from './smoothQuant.ts'

/** The exponents that `auto` compares. */
const alphas = Array.from({ length: 21 }, (_, i) => i / 20)

/** Rows of inputs on which it compares them. */
const comparedRows = 512

/** What is known of the inputs of layers that take the same. */
interface Seen {
  /** max |x| of each sample, [K] float32. */
  readonly largest: Tensor[]
  /** Some rows, [M, K] float32. */
  readonly rows: Tensor[]
}

/** Smooths the inputs of layers by what passes through the model. */
export async function smooth(
  run: CalibratedRun,
  { alpha = 0.5, activations, mappings }: SmoothQuantOptions,
): Promise<void> {
  const { model, edits } = run
  const feeds = feedsToSmooth(run, mappings)
  const seen = new Map<Feed, Seen>(feeds.map((feed) => [feed, { largest: [], rows: [] }]))
  const perSample = alpha === 'auto' ? Math.ceil(comparedRows / run.samples) : 0
  const observations: Observation[] = []
  try {
    for (const [feed, of] of seen)
      observations.push(model.getModule(feed.to[0]).observe({ input: ([x]) => see(of, x, perSample) }))
    await run.pass()
  } finally {
    for (const end of observations) end()
  }
  try {
    for (const [feed, of] of seen) {
      if (of.largest.length === 0) continue
      const weights = feed.to.map((path) => model.getModule(path) as Multiplier)
      const chosen = alpha === 'auto' ? await bestAlpha(weights, of, activations === 'static') : alpha
      noGrad(() =>
        scope(() =>
          scaleFeed(model, edits, feed, smoothingFactors(largestOf(of), largestWeights(weights), chosen)),
        ),
      )
      await run.device.sync()
      run.signal?.throwIfAborted()
    }
  } finally {
    for (const tensor of [...seen.values()].flatMap(({ largest, rows }) => [...largest, ...rows]))
      tensor.dispose()
  }
}

/** By default those of normalizations, as SmoothQuant has them. */
function feedsToSmooth(
  { model, example, layers }: CalibratedRun,
  mappings: SmoothQuantOptions['mappings'],
): Feed[] {
  using graph = trace(model, example)
  const structure = new Structure(model, graph)
  const feeds = structure.feeds()
  const wanted = mappings
    ? mappedFeeds('smoothQuant', feeds, mappings)
    : feeds.filter(({ from }) => structure.isNorm(from))
  return wanted.filter(({ to }) => to.some((path) => layers.has(path)))
}

/**
 * s = (max|x| + ε)^α / (max|w| + ε)^(1 − α), ε = 2⁻²³.
 * @param x,w [K] float32
 */
export function smoothingFactors(x: Tensor, w: Tensor, alpha: number): Tensor {
  return scope(() => div(power(add(x, 2 ** -23), alpha), power(add(w, 2 ** -23), 1 - alpha)))
}

const power = (x: Tensor, exponent: number) => exp(mul(log(x), exponent))

/** The largest magnitude of each column of some weights, [K] float32. */
function largestWeights(layers: readonly Multiplier[]): Tensor {
  return scope(() => largestColumns(concat(layers.map(weightRows), 0)))
}

/** max |x| of each column of x [M, K]. */
export function largestColumns(x: Tensor): Tensor {
  return scope(() => reduce('absmax', transpose(x, 0, 1)))
}

function largestOf({ largest }: Seen): Tensor {
  return scope(() =>
    largestColumns(
      concat(
        largest.map((one) => one.view([1, one.numel])),
        0,
      ),
    ),
  )
}

function see({ largest, rows }: Seen, x: unknown, count: number): void {
  if (!(x instanceof Tensor) || x.numel === 0) return
  const [M, K] = [x.numel / x.size(-1), x.size(-1)]
  scope(() => {
    const all = x.view([M, K])
    largest.push(keep(largestColumns(all)))
    if (count === 0) return
    const places = Int32Array.from({ length: Math.min(count, M) }, (_, i) =>
      Math.floor((i * M) / Math.min(count, M)),
    )
    rows.push(keep(embedding(all, Tensor.fromArray(x.device, places))))
  })
}

/** The exponent with the least error of the layers' outputs, weights and inputs rounded to 8 bits. */
async function bestAlpha(layers: readonly Multiplier[], seen: Seen, isStatic: boolean): Promise<number> {
  using errors = noGrad(() =>
    scope(() => {
      const x = concat(seen.rows, 0)
      const w = concat(layers.map(weightRows), 0)
      const [largest, weights] = [largestOf(seen), largestColumns(w)]
      const y = matmulTransposed(x, w)
      const roundedInputs = (rows: Tensor) =>
        isStatic ? roundedRows(rows.view([1, rows.numel])).view(rows.shape) : roundedRows(rows)
      return concat(
        alphas.map((alpha) =>
          scope(() => {
            const factors = smoothingFactors(largest, weights, alpha)
            const rounded = matmulTransposed(roundedInputs(div(x, factors)), roundedRows(mul(w, factors)))
            return outputError(y, rounded).view([1])
          }),
        ),
        0,
      )
    }),
  )
  const values = [...(await errors.toNumbers())]
  return alphas[values.indexOf(Math.min(...values))]
}

/** Rows rounded to int8, each by its largest magnitude. */
function roundedRows(x: Tensor): Tensor {
  return roundRows(x, chooseScales(x, 'absmax', symmetricRange(qint8)), qint8)
}
