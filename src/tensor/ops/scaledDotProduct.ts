import { ShapeError } from '../../core/errors.ts'
import { aBoolean, aNumber } from '../../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../../core/options.ts'
import { showShape } from '../../core/shape.ts'
import { scope } from '../scope.ts'
import { checkTensor, type Tensor } from '../tensor.ts'
import { causalAttention } from './attention.ts'
import { expand } from './broadcast.ts'
import { mul } from './elementwise.ts'
import { matmul } from './matmul.ts'
import { softmax } from './reduce.ts'
import { transpose } from './shape.ts'

/** What each query sees, and how products are scaled. */
export interface AttentionOptions {
  isCausal?: boolean
  /** Default: 1/√D. */
  scale?: number
}

const optionKinds: OptionKinds<AttentionOptions> = { isCausal: aBoolean, scale: aNumber }

/**
 * y = softmax(scale · q · kᵀ) · v; causal, query t sees keys 0 … t.
 * Source: Vaswani et al., "Attention Is All You Need", 2017, equation 1.
 * @param q [B, H, T, D] float32
 * @param k,v [B, KV, S, D] float32, H a multiple of KV; S = T when causal
 * @returns [B, H, T, D] float32
 */
export function scaledDotProductAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions = {},
): Tensor {
  checkOptions('scaledDotProductAttention', options, optionKinds)
  for (const [name, x] of Object.entries({ q, k, v })) checkTensor('scaledDotProductAttention', name, x)
  const [B, H, T, D] = q.shape
  const [, KV, S] = k.shape
  if (q.shape.length !== 4 || k.shape.length !== 4 || H % KV !== 0) {
    throw new ShapeError(
      `scaledDotProductAttention: q must be [B,H,T,D], k [B,KV,S,D], H a multiple of KV; received ${showShape(q.shape)}, ${showShape(k.shape)}`,
    )
  }
  const scale = options.scale ?? 1 / Math.sqrt(D)
  if (options.isCausal) {
    if (S !== T)
      throw new ShapeError(
        `scaledDotProductAttention: causal attention needs as many keys as queries (${T}); received ${S}`,
      )
    return causalAttention(q, k, v, scale)
  }
  return scope(() => {
    // Heads that share keys and values stand side by side: each key-value head is repeated for them.
    const groups = q.view([B, KV, H / KV, T, D])
    const repeated = (x: Tensor) => expand(x.view([B, KV, 1, S, D]), [B, KV, H / KV, S, D])
    const probabilities = softmax(matmul(mul(groups, scale), transpose(repeated(k), -1, -2)))
    return matmul(probabilities, repeated(v)).view([B, H, T, D])
  })
}
