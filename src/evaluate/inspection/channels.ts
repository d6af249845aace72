import type { Module } from '../../nn/module.ts'
import type { Observation } from '../../nn/observe.ts'
import { abs, cast, reduce, transpose } from '../../tensor/ops/index.ts'
import { keep, scope } from '../../tensor/scope.ts'
import { noGrad } from '../../tensor/tape.ts'
import { Tensor } from '../../tensor/tensor.ts'

/** The largest values that a layer takes, by channel: a column of its input. */
export interface ChannelMagnitudes {
  path: string
  /** The median over channels of the largest |x| of each. */
  median: number
  /** The channels with the largest |x|, the largest first. */
  largest: { channel: number; magnitude: number }[]
}

const mostChannels = 8

/**
 * The channels in which the inputs of layers are largest. A few that lie far above the others, outliers, are
 * what makes activations hard to quantize.
 * @param run a forward pass of the model
 */
export async function channelMagnitudes(
  model: Module,
  paths: readonly string[],
  run: () => unknown,
): Promise<ChannelMagnitudes[]> {
  const inputs = new Map<string, Tensor>()
  const observations: Observation[] = paths.map((path) =>
    model.getModule(path).observe({
      input([x]) {
        if (x instanceof Tensor && x.dtype === 'float32') inputs.set(path, keep(columnMagnitudes(x)))
      },
    }),
  )
  try {
    noGrad(() => scope(() => void run()))
  } finally {
    for (const end of observations) end()
  }
  const found: ChannelMagnitudes[] = []
  for (const [path, magnitudes] of inputs) {
    const values = Array.from(await magnitudes.toNumbers(), Number)
    magnitudes.dispose()
    const order = values.map((_, channel) => channel).sort((a, b) => values[b] - values[a])
    const largest = order.slice(0, mostChannels)
    found.push({
      path,
      median: values[order[order.length >> 1]],
      largest: largest.map((channel) => ({ channel, magnitude: values[channel] })),
    })
  }
  return found
}

/** max |x| of each column: x [..., K] → [K]. */
function columnMagnitudes(x: Tensor): Tensor {
  return scope(() => {
    const columns = x.size(-1)
    const matrix = cast(x, 'float32').view([x.numel / columns, columns])
    return reduce('max', transpose(abs(matrix), 0, 1))
  })
}
