import type { QType } from '../../core/qtype.ts'
import type { CalibratedAlgorithm } from '../calibrated/algorithm.ts'
import type { GgufQuantizedType } from '../ggufQuantizers.ts'
import type { ActOrder } from '../gptqQuantizer.ts'
import { type IntegerWeights, integerWeights } from './integerWeights.ts'

/** What a shell says of all algorithms; each takes of it what it knows. */
export interface AlgorithmSettings {
  /** Of a code. */
  bits: number
  /** Which of GGUF's types, of imatrix; default: Q4_K. */
  type?: GgufQuantizedType
  /** Columns that share a scale; null: the row. */
  groupSize?: number | null
  /** Whether ranges lie around 0. */
  symmetric?: boolean
  /** In which order GPTQ solves columns; see `gptq`. */
  actOrder?: ActOrder
  /** What inputs and outputs of layers are rounded to, by scales that the data choose. */
  activations?: QType
}

/** The algorithms of `quantizeCalibrated` by name, each loaded when it is used. */
export const calibratedAlgorithms = {
  rotate: async () => (await import('./rotate.ts')).rotate(),
  smoothQuant: async ({ activations }) => {
    const { smoothQuant } = await import('./smoothQuant.ts')
    return smoothQuant({ activations: activations ? 'static' : 'dynamic' })
  },
  gptq: async (settings) => {
    const { gptq } = await import('./gptq.ts')
    return gptq({ ...integersOf(settings), actOrder: settings.actOrder })
  },
  gptaq: async (settings) => {
    const { gptaq } = await import('./gptaq.ts')
    return gptaq({ ...integersOf(settings), actOrder: settings.actOrder })
  },
  awq: async (settings) => (await import('./awq.ts')).awq(integersOf(settings)),
  autoRound: async (settings) => {
    const { autoRound } = await import('./autoRound.ts')
    return inFloat16(autoRound(integersOf(settings)))
  },
  imatrix: async ({ type = 'Q4_K' }) => (await import('./imatrix.ts')).imatrix({ type }),
  distilScales: async () => (await import('./distilScales.ts')).distilScales(),
} satisfies Record<string, (settings: AlgorithmSettings) => Promise<CalibratedAlgorithm>>

/** The name of an algorithm that sees data. */
export type CalibratedAlgorithmName = keyof typeof calibratedAlgorithms

/**
 * Algorithms by name, in their order; where none of them says what weights become, they are rounded to
 * nearest.
 */
export async function algorithmsNamed(
  names: readonly CalibratedAlgorithmName[],
  settings: AlgorithmSettings,
): Promise<CalibratedAlgorithm[]> {
  const made: CalibratedAlgorithm[] = await Promise.all(
    names.map((name) => calibratedAlgorithms[name](settings)),
  )
  const { activations } = settings
  if (activations) made.push({ name: 'activations', options: { activations } })
  if (made.some(({ options }) => options?.weights !== undefined)) return made
  return [inFloat16({ name: 'rounding', options: integerWeights(integersOf(settings)) }), ...made]
}

function integersOf({ bits, groupSize, symmetric }: AlgorithmSettings): IntegerWeights {
  return { bits, groupSize, symmetric }
}

/** With scales that the files of GPTQ, AWQ and others hold. */
function inFloat16(algorithm: CalibratedAlgorithm): CalibratedAlgorithm {
  return { ...algorithm, options: { ...algorithm.options, scaleDtype: 'float16' } }
}
