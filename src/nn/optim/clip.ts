import { ShapeError } from '../../core/errors.ts'
import { above, anIterable, atLeast, check, type Kind } from '../../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../../core/options.ts'
import { op } from '../../tensor/op.ts'
import { reduce } from '../../tensor/ops/reduce.ts'
import { scope } from '../../tensor/scope.ts'
import { noGrad } from '../../tensor/tape.ts'
import { copyTo, Tensor } from '../../tensor/tensor.ts'
import type { Parameter } from '../module.ts'

/** Which norm gradients are clipped by. */
export interface ClipOptions {
  /** 2 (default), or Infinity, the largest magnitude. */
  normType?: 2 | typeof Infinity
}

const aNorm: Kind = { must: 'be 2 or Infinity', holds: (value) => value === 2 || value === Infinity }
const optionKinds: OptionKinds<ClipOptions> = { normType: aNorm }

function gradientsOf(operation: string, parameters: Iterable<Parameter>): Tensor[] {
  check(operation, 'parameters', parameters, anIterable)
  return [...new Set(parameters)].flatMap((parameter) =>
    parameter instanceof Tensor && parameter.grad ? [parameter.grad] : [],
  )
}

/** x · maxNorm / norm in place, where the norm is larger; see kernels/optim/clipNorm. */
const clipNorm = op('clipNorm(x, norm, maxNorm)', (x: Tensor, norm: Tensor, maxNorm: number) => {
  x.changed()
  x.device.call('clipNorm', { x, norm, maxNorm, count: x.numel })
})

/** x limited to −limit … limit, in place. */
const clipValues = op('clipValues(x, limit)', (x: Tensor, limit: number) => {
  x.changed()
  x.device.call('clamp', { x, low: -limit, high: limit, y: x, count: x.numel })
})

/**
 * Scales all gradients by min(1, maxNorm / norm), where norm is that of all of them as one vector. Nothing is
 * read back.
 * Source: torch.nn.utils.clip_grad_norm_; Pascanu et al., "On the difficulty of training recurrent neural
 * networks", 2013.
 * @returns the norm before, [1] float32 on the device
 * @throws ShapeError if no parameter has a gradient
 */
export function clipGradNorm(
  parameters: Iterable<Parameter>,
  maxNorm: number,
  options: ClipOptions = {},
): Tensor {
  check('clipGradNorm', 'maxNorm', maxNorm, above(0))
  checkOptions('clipGradNorm', options, optionKinds)
  const gradients = gradientsOf('clipGradNorm', parameters).filter(({ numel }) => numel > 0)
  if (gradients.length === 0)
    throw new ShapeError('clipGradNorm: a parameter must have a gradient; received none')
  const norm = options.normType === Infinity ? 'absmax' : 'norm'
  return noGrad(() =>
    scope(() => {
      // The norm of the norms: of the rows of each gradient, of each gradient, of all.
      const norms = Tensor.empty(gradients[0].device, [gradients.length])
      for (const [i, gradient] of gradients.entries()) {
        const cols = gradient.size(-1) ?? 1
        const rows = reduce(norm, gradient.view([gradient.numel / cols, cols]))
        copyTo(reduce(norm, rows), norms.rows(i, i + 1))
      }
      const whole = reduce(norm, norms).view([1])
      for (const gradient of gradients) clipNorm(gradient, whole, maxNorm)
      return whole
    }),
  )
}

/** Limits every value of the gradients to −clipValue … clipValue. Source: torch.nn.utils.clip_grad_value_. */
export function clipGradValue(parameters: Iterable<Parameter>, clipValue: number): void {
  check('clipGradValue', 'clipValue', clipValue, atLeast(0))
  for (const gradient of gradientsOf('clipGradValue', parameters)) clipValues(gradient, clipValue)
}
