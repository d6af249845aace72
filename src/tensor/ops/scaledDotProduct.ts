import { ShapeError } from '../../core/errors.ts'
import { aBoolean, aNumber } from '../../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../../core/options.ts'
import { showShape } from '../../core/shape.ts'
import { scope } from '../scope.ts'
import { aTensor, checkTensor, type Tensor } from '../tensor.ts'
import { attention } from './attention.ts'
import { where } from './elementwise.ts'
import { transpose } from './shape.ts'

/** What each query sees, and how products are scaled. */
export interface ScaledDotProductOptions {
  isCausal?: boolean
  /**
   * Repeated to [B, H, T, S]: bool, true where a query sees a key; or float32, added to the scores. No
   * gradient passes to it. A query that sees no key gives 0.
   */
  attnMask?: Tensor
  /** Default: 1/√D. */
  scale?: number
}

const optionKinds: OptionKinds<ScaledDotProductOptions> = {
  isCausal: aBoolean,
  attnMask: aTensor,
  scale: aNumber,
}

/**
 * y = softmax(scale · q · kᵀ + attnMask) · v; causal, query t sees keys 0 … t. As PyTorch's function of this
 * name.
 * Source: Vaswani et al., "Attention Is All You Need", 2017, equation 1.
 * @param q [B, H, T, D] float32
 * @param k,v [B, KV, S, D] float32, H a multiple of KV; S = T when causal
 * @returns [B, H, T, D] float32
 */
export function scaledDotProductAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: ScaledDotProductOptions = {},
): Tensor {
  checkOptions('scaledDotProductAttention', options, optionKinds)
  for (const [name, x] of Object.entries({ q, k, v })) checkTensor('scaledDotProductAttention', name, x)
  const [, H, T] = q.shape
  const [, KV, S] = k.shape
  if (q.shape.length !== 4 || k.shape.length !== 4 || H % KV !== 0) {
    throw new ShapeError(
      `scaledDotProductAttention: q must be [B,H,T,D], k [B,KV,S,D], H a multiple of KV; received ${showShape(q.shape)}, ${showShape(k.shape)}`,
    )
  }
  const { isCausal = false, attnMask, scale } = options
  if (isCausal && S !== T)
    throw new ShapeError(
      `scaledDotProductAttention: causal attention needs as many keys as queries (${T}); received ${S}`,
    )
  return scope(() => {
    const bias = attnMask && (attnMask.dtype === 'bool' ? hidden(attnMask) : attnMask)
    const mask = isCausal ? 'causal' : 'full'
    return transpose(attention(transpose(q, 1, 2), k, v, { mask, scale, bias }), 1, 2)
  })
}

/** 0 where a mask is true, −∞ where it is false. */
function hidden(mask: Tensor): Tensor {
  return where(mask, 0, -Infinity)
}
