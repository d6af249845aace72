import type { OutputDifference } from '../../evaluate/compareOutputs.ts'
import type { ChannelMagnitudes } from '../../evaluate/inspection/channels.ts'
import type { WeightHistogram } from '../../evaluate/inspection/weightHistogram.ts'

/** A tensor of a model as it is saved and computed with. */
export interface InspectedTensor {
  name: string
  shape: readonly number[]
  /** dtype, or quantized type. */
  kind: string
  bytes: number
  /** The kernels that read it, where it is a matrix. */
  kernel: string
  /** ‖W − Ŵ‖₂ / ‖W‖₂ beside the baseline. */
  error?: number
}

/** What the report on a quantized model shows, as `--json` prints it. */
export interface ReportData {
  model: string
  baseline: string
  architecture: string
  scheme: string
  bytes: number
  bitsPerWeight: number
  tensors: readonly InspectedTensor[]
  /** Of the layers whose weights changed most, the worst first. */
  histograms: (WeightHistogram & { path: string; error: number })[]
  /** Where a text is given. */
  text?: TextData
}

/** What is measured on a text. */
export interface TextData {
  /** Of the text, from its beginning. */
  tokens: number
  outputs: OutputDifference[]
  /** KL divergence from the float model with this layer alone as it is quantized, in nats. */
  contributions: { path: string; klDivergence: number }[]
  /** How many there would be, had there been time. */
  possibleContributions: number
  channels: ChannelMagnitudes[]
  /** KL divergence from the float model with this layer alone in weights of this type. */
  sensitivities: { path: string; weights: string; klDivergence: number }[]
  /** The same of these. */
  possibleSensitivities: number
  /** Whole models: the float one first. */
  quality: { weights: string; bitsPerWeight: number; klDivergence: number; perplexity: number }[]
}
