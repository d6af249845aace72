import { ShapeError } from '../../core/errors.ts'
import { wholeNumber, within } from '../../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../../core/options.ts'
import { showShape } from '../../core/shape.ts'
import { op } from '../op.ts'
import { checkDType, checkShape, Tensor } from '../tensor.ts'

/** What of the targets counts. */
export interface NllOptions {
  /** Rows with this target count nothing; default −100. */
  ignoreIndex?: number
  /** The share of each target that is spread over all classes; default 0. */
  labelSmoothing?: number
}

/** The options of losses of classes. */
export const nllKinds: OptionKinds<NllOptions> = {
  ignoreIndex: wholeNumber(-(2 ** 31), 2 ** 31 - 1),
  labelSmoothing: within(0, 1),
}

/**
 * loss = −(1 − s)·p[target] − s·mean(p) of each row p of log-probabilities, s the label smoothing; 0 where
 * the target is `ignoreIndex`.
 * @param logProbabilities [rows, C] float32
 * @param targets [rows] int32; one outside 0..C−1 makes its row's loss NaN
 * @returns loss [rows] float32, and counted [rows] float32: 0 where a row is ignored, else 1
 */
export const nll = op(
  'nll(logProbabilities, targets, options)',
  (
    logProbabilities: Tensor,
    targets: Tensor,
    options: NllOptions = {},
  ): { loss: Tensor; counted: Tensor } => {
    checkOptions('nll', options, nllKinds)
    checkDType('nll', 'logProbabilities', logProbabilities, 'float32')
    checkDType('nll', 'targets', targets, 'int32')
    if (logProbabilities.shape.length !== 2) {
      throw new ShapeError(
        `nll: log-probabilities must be [rows,classes]; received ${showShape(logProbabilities.shape)}`,
      )
    }
    const [rows, cols] = logProbabilities.shape
    checkShape('nll', 'targets', targets, [rows])
    const { device } = logProbabilities
    const loss = Tensor.empty(device, [rows])
    const counted = Tensor.empty(device, [rows])
    const given = { logProbabilities, targets, ...complete(options) }
    if (rows > 0) device.call('nll', { ...given, loss, counted, rows, cols })
    return { loss, counted }
  },
  ({ dy }, logProbabilities, targets, options = {}) => {
    const [rows, cols] = logProbabilities.shape
    const dx = Tensor.empty(dy.device, [rows, cols])
    if (rows > 0) dy.device.call('nllGrad', { targets, dloss: dy, ...complete(options), dx, rows, cols })
    return [dx]
  },
)

const complete = ({ ignoreIndex = -100, labelSmoothing = 0 }: NllOptions) => ({
  ignoreIndex,
  smoothing: labelSmoothing,
})
