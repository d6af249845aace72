import {
  autoRound,
  awq,
  type CalibratedAlgorithm,
  distilScales,
  gptaq,
  gptq,
  hqq,
  rotate,
} from '../../src/index.ts'
import { algorithmsOfQuality, type Quality } from '../../src/quantize/algorithms/quality.ts'

/** A way to quantize a model to so many bits. */
export interface Recipe {
  name: string
  algorithms(bits: number): CalibratedAlgorithm[] | Promise<CalibratedAlgorithm[]>
  /** Bits are given to layers by what they lose, as many in all as others of these take. */
  byLayer?: boolean
  /** Rows must be whole groups: stories260K has some of 172 columns, ResNet-20 some of 27. */
  wholeGroups?: boolean
}

const groups = { groupSize: 32, symmetric: false } as const
const inOrder = { ...groups, actOrder: 'group-aware' } as const

/** What `--quality` chooses. */
const preset = (quality: Quality) => (bits: number) => algorithmsOfQuality(quality, { bits })
/** What training begins with: scales are those of the float weights. */
const before = (bits: number) => gptq({ bits, ...groups, actOrder: 'static', scaleSearch: true })

/** What is compared: first what sees weights alone, then each step with what it adds to one before. */
export const recipes: readonly Recipe[] = [
  { name: 'rounding', algorithms: (bits) => [rounding(bits)] },
  { name: 'hqq, groups of 64', algorithms: (bits) => [halfQuadratic(bits)], wholeGroups: true },
  { name: 'awq', algorithms: (bits) => [awq({ bits, ...groups })] },
  { name: 'gptq', algorithms: (bits) => [gptq({ bits, ...groups, actOrder: false })] },
  { name: 'gptq, groups in order', algorithms: (bits) => [gptq({ bits, ...inOrder })] },
  { name: 'gptq, groups in order, scales searched (fast)', algorithms: preset('fast') },
  { name: 'the same with gptaq', algorithms: (bits) => [gptaq({ bits, ...inOrder, scaleSearch: true })] },
  { name: 'the same, rotated', algorithms: async (bits) => [rotate(), ...(await preset('fast')(bits))] },
  { name: 'autoRound', algorithms: (bits) => [autoRound({ bits, ...groups, iterations: 100 })] },
  { name: 'gptq, columns in order, scales searched', algorithms: (bits) => [before(bits)] },
  { name: 'then scales trained', algorithms: (bits) => [before(bits), distilScales({ steps: 100 })] },
  { name: 'then scales and rounding trained (good)', algorithms: preset('good') },
  { name: 'the same for longer (best)', algorithms: preset('best') },
  { name: 'the same, bits by layer', algorithms: preset('best'), byLayer: true },
]

function rounding(bits: number): CalibratedAlgorithm {
  return {
    name: 'rounding',
    options: { weights: `int${bits}` as 'int4', groupSize: 32, zeroPoints: true, scaleDtype: 'float16' },
  }
}

/** With shifts of 16 bits in the place of zero points, as HQQ's files have them. */
function halfQuadratic(bits: number): CalibratedAlgorithm {
  return {
    name: 'hqq',
    options: { weights: `int${bits}` as 'int4', groupSize: 64, scaleDtype: 'float16' },
    quantizer: hqq(),
  }
}
