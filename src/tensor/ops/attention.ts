import { ShapeError } from '../../core/errors.ts'
import { showShape } from '../../core/shape.ts'
import { currentValue, type Scalar } from '../../devices/commandList.ts'
import { scope } from '../scope.ts'
import { record } from '../tape.ts'
import { checkDType, checkShape, checkTensor, Tensor } from '../tensor.ts'
import { neg } from './elementwise.ts'
import { transpose } from './shape.ts'

/**
 * Rotary position embedding: pairs (i, i + D/2) of each head turn by the angle of their position.
 * Source: Su et al., "RoFormer", 2021, equation 34, in the half-split pairing of Hugging Face's Llama.
 * @param x [B, T, H, D] float32
 * @param cos,sin [positions, D/2] float32; token t uses row `position + t`
 */
export function rope(x: Tensor, cos: Tensor, sin: Tensor, position: number | Scalar): Tensor {
  checkDType('rope', 'x', x, 'float32')
  const [B, T, H, D] = x.shape
  checkTensor('rope', 'cos', cos)
  checkShape('rope', 'cos', cos, [cos.size(0), D / 2])
  checkShape('rope', 'sin', sin, cos.shape)
  checkPositions('rope', position, T, cos.size(0))
  const y = Tensor.empty(x.device, x.shape)
  x.device.call('rope', { x, cos, sin, y, batch: B, tokens: T, heads: H, headSize: D, position })
  // Turned back by the same angles.
  return record(y, [x], (dy) => [rope(dy, cos, neg(sin), position)])
}

/** Copies x [B, T, H, D] into cache [B, H, capacity, D] at `position`, both float32. */
export function cacheWrite(x: Tensor, cache: Tensor, position: number | Scalar): void {
  checkDType('cacheWrite', 'x', x, 'float32')
  checkTensor('cacheWrite', 'cache', cache)
  const [B, T, H, D] = x.shape
  const capacity = cache.size(2)
  checkShape('cacheWrite', 'cache', cache, [B, H, capacity, D])
  checkPositions('cacheWrite', position, T, capacity)
  x.device.call('cacheWrite', { x, cache, batch: B, tokens: T, heads: H, headSize: D, position, capacity })
}

/**
 * y = softmax(scale · q · kᵀ) · v with the causal mask: query t, at absolute position `position + t`, sees
 * keys 0..position+t.
 * Source: Vaswani et al., "Attention Is All You Need", 2017, equation 1; grouped-query heads: Ainslie et al.,
 * "GQA", 2023.
 * @param q [B, T, H, D] float32
 * @param k,v [B, KV, capacity, D] float32 caches, H a multiple of KV
 * @returns [B, T, H, D] float32
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, position: number | Scalar, scale: number): Tensor {
  checkDType('attention', 'q', q, 'float32')
  const [B, T, H, D] = q.shape
  checkTensor('attention', 'k', k)
  const [, KV, capacity] = k.shape
  checkShape('attention', 'k', k, [B, KV, capacity, D])
  checkShape('attention', 'v', v, k.shape)
  if (H % KV !== 0)
    throw new ShapeError(
      `attention: heads (${H}) must be a multiple of key-value heads (${KV}); q ${showShape(q.shape)}`,
    )
  checkPositions('attention', position, T, capacity)
  const y = Tensor.empty(q.device, q.shape)
  q.device.call('attention', {
    q,
    k,
    v,
    y,
    batch: B,
    tokens: T,
    heads: H,
    kvHeads: KV,
    headSize: D,
    position,
    capacity,
    scale,
  })
  return record(y, [q, k, v], (dy) => {
    if (currentValue(position) !== 0 || capacity !== T) {
      throw new ShapeError(
        `attention: a gradient needs as many keys as queries (${T}), from position 0; received ${capacity} keys`,
      )
    }
    const [dq, dk, dv] = [q, k, v].map((x) => Tensor.empty(x.device, x.shape))
    q.device.call('attentionGrad', {
      q,
      k,
      v,
      y,
      dy,
      dq,
      dk,
      dv,
      batch: B,
      tokens: T,
      heads: H,
      kvHeads: KV,
      headSize: D,
      scale,
    })
    return [dq, dk, dv]
  })
}

/**
 * y = softmax(scale · q · kᵀ) · v in PyTorch's layout, every query seeing the keys up to its own.
 * @param q [B, H, T, D] float32
 * @param k,v [B, KV, T, D] float32, H a multiple of KV
 * @param scale 1/√D when left out
 * @returns [B, H, T, D] float32
 */
export function causalAttention(q: Tensor, k: Tensor, v: Tensor, scale?: number): Tensor {
  checkTensor('causalAttention', 'q', q)
  return scope(() =>
    transpose(attention(transpose(q, 1, 2), k, v, 0, scale ?? 1 / Math.sqrt(q.size(-1))), 1, 2),
  )
}

/**
 * Positions `position` to `position + T − 1` must stay below `limit`; whoever runs a kept list keeps its
 * scalar there.
 */
function checkPositions(operation: string, position: number | Scalar, T: number, limit: number): void {
  const first = currentValue(position)
  if (first + T > limit)
    throw new ShapeError(
      `${operation}: positions must stay below ${limit}; received ${first}..${first + T - 1}`,
    )
}
