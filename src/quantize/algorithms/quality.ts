import type { CalibratedAlgorithm } from '../calibrated/algorithm.ts'
import type { AlgorithmSettings, CalibratedAlgorithmName } from './index.ts'

/** How long a quantization may take for what it gives: seconds, minutes, or as long as it helps. */
export type Quality = 'fast' | 'good' | 'best'

/** The algorithms of each, in their order. */
export const qualities: Readonly<Record<Quality, readonly CalibratedAlgorithmName[]>> = {
  fast: ['gptq'],
  good: ['gptq', 'distilScales'],
  best: ['gptq', 'distilScales'],
}

/** Steps in which rounding and scales train against the whole float model. */
const steps = { good: 100, best: 400 }

/**
 * GPTQ with scales that are searched for, in groups of 32 with zero points, which take 0.53 to 0.75 bits a
 * weight beside the codes; then, but for `fast`, rounding and scales train against the whole float model.
 * Codes that stay lose the least with scales of what weights have become when their group's turn comes; training
 * gets farther from scales of the float weights. The tables of docs/calibrated.md have the figures.
 * @param timeLimit seconds of that training
 */
export async function algorithmsOfQuality(
  quality: Quality,
  { bits, groupSize = 32, symmetric = false, activations }: AlgorithmSettings,
  timeLimit?: number,
): Promise<CalibratedAlgorithm[]> {
  const { gptq } = await import('./gptq.ts')
  const actOrder = quality === 'fast' ? 'group-aware' : 'static'
  const made = [gptq({ bits, groupSize, symmetric, actOrder, scaleSearch: true })]
  if (activations) made.push({ name: 'activations', options: { activations } })
  if (quality === 'fast') return made
  const { distilScales } = await import('./distilScales.ts')
  return [...made, distilScales({ rounding: true, steps: steps[quality], timeLimit })]
}
