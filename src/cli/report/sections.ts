import { bars } from '../charts/bars.ts'
import { bitsPerplexity } from '../charts/bitsPerplexity.ts'
import type { Chart } from '../charts/chart.ts'
import { dots } from '../charts/dots.ts'
import { histogram } from '../charts/histogram.ts'
import type { PageSection, PageTable } from '../charts/page.ts'
import type { Plotting } from '../charts/plotting.ts'
import { formatBytes, formatCount } from '../output.ts'
import type { ReportData, TextData } from './data.ts'
import { type LayerOrder, layerDot, layerOrder, placeOf } from './layers.ts'

/** The report's parts, from what was measured. */
export function reportSections(plotting: Plotting, data: ReportData): PageSection[] {
  const changed = data.tensors.filter(({ error = 0 }) => error > 0)
  const paths = (tensors: ReportData['tensors']) => tensors.map(({ name }) => layerPath(name))
  const order = layerOrder(paths(data.tensors), paths(changed))
  return [
    sizes(plotting, data),
    weightErrors(plotting, data, order),
    ...(data.text ? textSections(plotting, data.text, order) : []),
    ...(data.histograms.length > 0 ? [histograms(plotting, data)] : []),
    tensorTable(data),
  ]
}

/** The path of the layer that holds a tensor. */
function layerPath(tensor: string): string {
  return tensor.replace(/\.(weight|bias)$/, '')
}

function sizes(plotting: Plotting, { tensors }: ReportData): PageSection {
  const sums = new Map<string, { layer: string; kind: string; bytes: number }>()
  for (const { name, kind, bytes } of tensors) {
    const { layer } = placeOf(layerPath(name))
    const key = `${layer} ${kind}`
    const sum = sums.get(key) ?? { layer, kind, bytes: 0 }
    sums.set(key, { ...sum, bytes: sum.bytes + bytes })
  }
  const all = [...sums.values()]
  const totals = (layer: string) =>
    all.filter((sum) => sum.layer === layer).reduce((sum, { bytes }) => sum + bytes, 0)
  const kilo = Math.max(...all.map(({ layer }) => totals(layer))) < 1e6
  return {
    title: 'Size',
    charts: [
      bars(plotting, {
        name: 'size',
        title: 'Size by layer and kind',
        caption: 'As saved, scales included; numbers are layers.',
        unit: kilo ? 'kB' : 'MB',
        rows: all.map(({ layer, kind, bytes }) => ({
          label: layer,
          value: bytes / (kilo ? 1e3 : 1e6),
          series: kind,
          text: formatBytes(totals(layer)),
        })),
      }),
    ],
  }
}

function weightErrors(plotting: Plotting, { tensors }: ReportData, order: LayerOrder): PageSection {
  const wrong = tensors.filter(({ error }) => error !== undefined && error > 0)
  const rows = wrong.map(({ name, error = 0 }) => layerDot(layerPath(name), error))
  const chart = dots(plotting, {
    name: 'weight-error',
    title: 'Error of weights',
    caption: '‖W − Ŵ‖ / ‖W‖ of each layer beside the float model; what is exact is left out.',
    x: order.layers,
    y: { label: 'relative error' },
    rows,
  })
  return rows.length > 0
    ? { title: 'Error of weights', charts: [chart] }
    : { title: 'Error of weights', text: "All weights are the float model's." }
}

function textSections(plotting: Plotting, text: TextData, order: LayerOrder): PageSection[] {
  const on = `on ${formatCount(text.tokens)} tokens of the text`
  const outputs = text.outputs.filter(({ path }) => {
    const { kind, layer } = placeOf(path)
    return layer !== kind && !kind.includes('.')
  })
  const first = text.quality.find(({ weights }) => weights === 'this model')
  const charts: Chart[] = [
    dots(plotting, {
      name: 'output-error',
      title: 'Error of outputs',
      caption: `‖y − ŷ‖ / ‖y‖ of what each block gives, with all errors that came up to there, ${on}.`,
      x: order.layers,
      y: { label: 'relative error' },
      joined: true,
      rows: outputs.map(({ path, relativeError }) => layerDot(path, relativeError)),
    }),
  ]
  if (text.contributions.length > 0)
    charts.push(
      dots(plotting, {
        name: 'kl-contribution',
        title: 'What each layer costs',
        caption: `KL divergence from the float model with this layer alone as it is quantized, ${on}${first ? `; the whole model has ${first.klDivergence.toPrecision(3)}` : ''}.${timeSufficed(text.contributions.length, text.possibleContributions)}`,
        x: order.layers,
        y: { label: 'KL divergence, nats', log: 10 },
        series: order.kinds,
        rows: text.contributions.map(({ path, klDivergence }) => layerDot(path, klDivergence)),
      }),
    )
  const some = timeSufficed(text.sensitivities.length, text.possibleSensitivities)
  return [
    { title: 'Error of outputs', charts },
    {
      title: 'Sensitivity',
      charts: [
        dots(plotting, {
          name: 'sensitivity',
          title: 'Each layer in other types',
          caption: `KL divergence from the float model with one layer alone in weights of this type, ${on}.${some}`,
          x: order.layers,
          y: { label: 'KL divergence, nats', log: 10 },
          rows: text.sensitivities.map(({ path, weights, klDivergence }) => ({
            x: placeOf(path).layer,
            y: klDivergence,
            series: weights,
          })),
        }),
        bitsPerplexity(
          plotting,
          'bits-perplexity',
          `All of these layers in one type: bits per weight with scales, and perplexity ${on}.`,
          text.quality.map((model) => ({ ...model, label: model.weights })),
        ),
      ],
      tables: [qualityTable(text)],
    },
    outliers(plotting, text, order, on),
  ]
}

/** Said only where not all was measured. */
function timeSufficed(done: number, possible: number): string {
  return done < possible ? ` Time sufficed for ${done} of ${possible}.` : ''
}

function qualityTable({ quality }: TextData): PageTable {
  return {
    columns: [
      { head: 'weights' },
      { head: 'bits per weight', numeric: true },
      { head: 'KL divergence', numeric: true },
      { head: 'perplexity', numeric: true },
    ],
    rows: quality.map(({ weights, bitsPerWeight, klDivergence, perplexity }) => [
      weights,
      bitsPerWeight.toFixed(2),
      klDivergence.toFixed(5),
      perplexity.toFixed(3),
    ]),
  }
}

function outliers(plotting: Plotting, { channels }: TextData, order: LayerOrder, on: string): PageSection {
  const ratio = ({ largest, median }: TextData['channels'][number]) => largest[0].magnitude / median
  const worst = channels.toSorted((a, b) => ratio(b) - ratio(a)).slice(0, 10)
  return {
    title: 'Outlier channels',
    charts: [
      dots(plotting, {
        name: 'outliers',
        title: 'Largest channel of inputs',
        caption: `The largest |x| of any channel that a layer takes, over the median of channels, ${on}.`,
        x: order.layers,
        y: { label: 'largest ÷ median', log: 10 },
        series: order.kinds,
        rows: channels.map((channel) => layerDot(channel.path, ratio(channel))),
      }),
    ],
    tables: [
      {
        columns: [
          { head: 'layer' },
          { head: 'median', numeric: true },
          { head: 'channels with the largest |x|' },
        ],
        rows: worst.map(({ path, median, largest }) => [
          path,
          String(Number(median.toPrecision(3))),
          largest
            .slice(0, 4)
            .map(({ channel, magnitude }) => `${channel}: ${Number(magnitude.toPrecision(3))}`)
            .join(', '),
        ]),
      },
    ],
  }
}

function histograms(plotting: Plotting, { histograms }: ReportData): PageSection {
  return {
    title: 'Worst layers',
    text: 'Float weights of the layers with the largest errors. Dashed lines: the least and the largest weight that codes stand for, medians over blocks that share a scale. Heights are square roots of counts.',
    charts: histograms.map(({ path, error, edges, counts, clipped, clippedShare }, i) =>
      histogram(plotting, {
        name: `histogram-${i + 1}`,
        title: path,
        caption: `Relative error ${error.toFixed(4)}; ${clippedShare > 0 ? (100 * clippedShare).toPrecision(2) : 0} % of weights clipped.`,
        label: 'weight',
        marks: histograms[i].range,
        bins: counts.flatMap((count, bin) => {
          const [from, to] = [edges[bin], edges[bin + 1]]
          const kept = { from, to, count: count - clipped[bin], series: clippedShare > 0 ? 'within' : '' }
          return clipped[bin] > 0 ? [kept, { from, to, count: clipped[bin], series: 'clipped' }] : [kept]
        }),
      }),
    ),
  }
}

function tensorTable({ tensors }: ReportData): PageSection {
  return {
    title: 'Tensors',
    tables: [
      {
        columns: [
          { head: 'tensor' },
          { head: 'shape', numeric: true },
          { head: 'kind' },
          { head: 'bytes', numeric: true },
          { head: 'relative error', numeric: true },
        ],
        rows: tensors.map(({ name, shape, kind, bytes, error = 0 }) => [
          name,
          shape.join(' × '),
          kind,
          formatCount(bytes),
          error.toFixed(5),
        ]),
      },
    ],
  }
}
