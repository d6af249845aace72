import type { AlgorithmStep } from '../algorithmSteps.ts'
import { bars } from '../charts/bars.ts'
import type { Chart } from '../charts/chart.ts'
import { dots } from '../charts/dots.ts'
import type { ChartedPage } from '../charts/output.ts'
import type { PageSection } from '../charts/page.ts'
import type { Plotting } from '../charts/plotting.ts'
import { type LayerOrder, layerDot, layerOrder, placeOf } from './layers.ts'

/** What became of a layer that was quantized. */
export interface QuantizedLayer {
  name: string
  /** Quantized type. */
  weights: string
  /** Columns that share a scale; none: a row. */
  groupSize?: number | null
  /** Of its outputs where data was seen, ‖y − ŷ‖ / ‖y‖, else of its weights; null where nothing was. */
  error: number | null
  /** The same with weights that are rounded to nearest. */
  errorRounded?: number | null
  /** What choosing its codes took. */
  seconds?: number
}

/** What `lowbit quantize` did, as a page. */
export interface QuantizedModel {
  title: string
  lead: string
  layers: readonly QuantizedLayer[]
  /** The algorithms that saw data and solved layers, in their order; none: weights were rounded. */
  algorithms: readonly string[]
  /** What the model has lost once each of them was done, rounding first. */
  steps?: readonly AlgorithmStep[] | null
}

/** The error of each layer, before and after what saw data, and the bits that were chosen. */
export function quantizePage(plotting: Plotting, done: QuantizedModel): ChartedPage {
  const { title, lead, layers, algorithms } = done
  const paths = layers.map(({ name }) => name)
  const order = layerOrder(paths, paths)
  const errors =
    algorithms.length > 0
      ? errorsOfOutputs(plotting, done, order)
      : { title: 'Error of weights', charts: [errorOfWeights(plotting, layers, order)] }
  const bought = done.steps ? [whatWasBought(plotting, done.steps)] : []
  return { title, lead, sections: [...bought, errors, bitsChosen(plotting, layers), table(done)] }
}

function whatWasBought(plotting: Plotting, steps: readonly AlgorithmStep[]): PageSection {
  const [{ klDivergence: rounded }] = steps
  const title = 'What each algorithm bought'
  const chart = bars(plotting, {
    name: 'bought',
    title,
    caption:
      'Mean KL divergence of the float model’s guesses, on samples that the model was calibrated on: with weights rounded to nearest, and after each algorithm on top of those above it. Shorter is better.',
    unit: 'nats',
    rows: steps.map(({ name, klDivergence }, i) => {
      const share = i > 0 && rounded > 0 ? `, ${((100 * klDivergence) / rounded).toFixed(0)} %` : ''
      return {
        label: i === 0 ? name : `then ${name}`,
        value: klDivergence,
        text: `${Number(klDivergence.toPrecision(3))}${share}`,
      }
    }),
  })
  return { title, charts: [chart] }
}

function errorOfWeights(plotting: Plotting, layers: readonly QuantizedLayer[], order: LayerOrder): Chart {
  return dots(plotting, {
    name: 'weight-error',
    title: 'Error of weights',
    caption: '‖W − Ŵ‖ / ‖W‖ of each layer.',
    x: order.layers,
    y: { label: 'relative error' },
    series: order.kinds,
    rows: layers.flatMap(({ name, error }) => (error === null ? [] : [layerDot(name, error)])),
  })
}

function errorsOfOutputs(
  plotting: Plotting,
  { layers, algorithms }: QuantizedModel,
  order: LayerOrder,
): PageSection {
  const names = algorithms.join(', ')
  const rounded = 'rounded to nearest'
  const seen = layers.flatMap(({ name, error, errorRounded }) =>
    error === null || errorRounded === null || errorRounded === undefined
      ? []
      : [{ name, error, errorRounded }],
  )
  return {
    title: 'Error of outputs',
    charts: [
      dots(plotting, {
        name: 'output-error',
        title: 'Before and after',
        caption: `‖y − ŷ‖ / ‖y‖ of what each layer gives for the same inputs: its weight rounded to nearest, and after ${names}.`,
        x: order.layers,
        y: { label: 'relative error' },
        series: [rounded, names],
        rows: seen.flatMap(({ name, error, errorRounded }) => {
          const { layer } = placeOf(name)
          return [
            { x: layer, y: errorRounded, series: rounded },
            { x: layer, y: error, series: names },
          ]
        }),
      }),
      dots(plotting, {
        name: 'error-left',
        title: 'What is left of the error',
        caption: `The error after ${names}, in percent of that of rounding: below 100 is better.`,
        x: order.layers,
        y: { label: '% of the error' },
        series: order.kinds,
        rows: seen
          .filter(({ errorRounded }) => errorRounded > 0)
          .map(({ name, error, errorRounded }) => layerDot(name, (100 * error) / errorRounded)),
      }),
    ],
  }
}

function bitsChosen(plotting: Plotting, layers: readonly QuantizedLayer[]): PageSection {
  const counts = new Map<string, number>()
  for (const layer of layers) counts.set(kindOf(layer), (counts.get(kindOf(layer)) ?? 0) + 1)
  const title = 'Bits'
  if (counts.size === 1) return { title, text: `All ${layers.length} layers: ${[...counts.keys()][0]}.` }
  const chart = bars(plotting, {
    name: 'bits',
    title,
    caption: 'How many layers have weights of each type.',
    unit: 'layers',
    rows: [...counts].map(([label, value]) => ({ label, value })),
  })
  return { title, charts: [chart] }
}

function kindOf({ weights, groupSize }: QuantizedLayer): string {
  return groupSize ? `${weights}, groups of ${groupSize}` : `${weights}, whole rows`
}

function table({ layers, algorithms }: QuantizedModel): PageSection {
  const shown = (error: number | null | undefined) => error?.toFixed(5) ?? '–'
  const numeric = (heads: readonly string[]) => heads.map((head) => ({ head, numeric: true }))
  const data = algorithms.length > 0
  return {
    title: 'Layers',
    tables: [
      {
        columns: [
          ...[{ head: 'layer' }, { head: 'weights' }],
          ...numeric(data ? ['error, rounded', 'solved', 'seconds'] : ['relative error']),
        ],
        rows: layers.map((layer) => [
          ...[layer.name, kindOf(layer)],
          ...(data ? [shown(layer.errorRounded), shown(layer.error)] : [shown(layer.error)]),
          ...(data ? [(layer.seconds ?? 0).toFixed(1)] : []),
        ]),
      },
    ],
  }
}
