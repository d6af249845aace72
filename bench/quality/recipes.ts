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

/** A way to quantize a model to so many bits. */
export interface Recipe {
  name: string
  algorithms(bits: number): CalibratedAlgorithm[]
  /** Bits are given to layers by what they lose, as many in all as others of these take. */
  byLayer?: boolean
}

const groups = { groupSize: 32, symmetric: false } as const

const solved = (bits: number, scaleSearch: boolean, actOrder: false | 'static') =>
  gptq({ bits, ...groups, scaleSearch, actOrder })
const fast = (bits: number) => solved(bits, true, 'static')
const best = (bits: number) => [fast(bits), distilScales({ steps: 400, rounding: true })]

/** What is compared: first what sees weights alone, then each step with what it adds to one before. */
export const recipes: readonly Recipe[] = [
  { name: 'rounding', algorithms: (bits) => [rounding(bits)] },
  { name: 'hqq, groups of 64', algorithms: (bits) => [halfQuadratic(bits)] },
  { name: 'awq', algorithms: (bits) => [awq({ bits, ...groups })] },
  { name: 'gptq', algorithms: (bits) => [solved(bits, false, false)] },
  { name: 'gptq, columns in order', algorithms: (bits) => [solved(bits, false, 'static')] },
  { name: 'gptq, scales searched (fast)', algorithms: (bits) => [fast(bits)] },
  {
    name: 'gptaq, scales searched',
    algorithms: (bits) => [gptaq({ bits, ...groups, scaleSearch: true, actOrder: 'static' })],
  },
  { name: 'rotate, gptq', algorithms: (bits) => [rotate(), fast(bits)] },
  { name: 'autoRound', algorithms: (bits) => [autoRound({ bits, ...groups, iterations: 100 })] },
  { name: 'gptq, scales trained', algorithms: (bits) => [fast(bits), distilScales({ steps: 200 })] },
  {
    name: 'gptq, rounding trained (good)',
    algorithms: (bits) => [fast(bits), distilScales({ steps: 100, rounding: true })],
  },
  { name: 'gptq, rounding trained longer (best)', algorithms: best },
  { name: 'rotate, gptq, rounding trained longer', algorithms: (bits) => [rotate(), ...best(bits)] },
  { name: 'bits by layer, gptq', algorithms: (bits) => [fast(bits)], byLayer: true },
  { name: 'bits by layer, rounding trained longer', algorithms: best, byLayer: true },
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
