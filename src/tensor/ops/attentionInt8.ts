import { ShapeError } from '../../core/errors.ts'
import { showShape } from '../../core/shape.ts'
import { op } from '../op.ts'
import { needsGrad } from '../tape.ts'
import { checkDType, checkShape, Tensor } from '../tensor.ts'
import { type AttentionOptions, masks, queries } from './attention.ts'
import { type Position, placed } from './position.ts'

/** Keys, or values, of a cache in int8; H heads of D values. */
export interface Int8Tokens {
  /** [B, H, capacity, D] int8: of all tokens but those that are only seen in full */
  codes: Tensor
  /** [B, H, capacity, groups] float32: of as many groups of a head's values, all of one size but the last */
  scale: Tensor
  /** [B, H, residual, D] float32: a ring of the last tokens in full */
  recent: Tensor
}

/** Of D values in as many groups: 64, or all of a head that has fewer. */
function groupSizeOf({ codes, scale }: Int8Tokens): number {
  const [D, groups] = [codes.size(3), scale.size(3)]
  const groupSize = Math.min(64, D)
  if (Math.ceil(D / groupSize) === groups) return groupSize
  throw new ShapeError(
    `attentionInt8: a scale must serve ${groupSize} values; received ${showShape(scale.shape)} for ${showShape(codes.shape)}`,
  )
}

/**
 * Writes x [B, T, H, D] float32 as int8 to `position` and after: scale = max |x| / 127 of each group, code =
 * x / scale rounded. Tokens behind the capacity of the codes are left out.
 */
export const cacheQuantize = op(
  'cacheQuantize(x, tokens, position)',
  (x: Tensor, tokens: Int8Tokens, position: Position): void => {
    const { codes, scale } = tokens
    checkDType('cacheQuantize', 'x', x, 'float32')
    const [batch, T, heads, headSize] = x.shape
    const capacity = codes.size(2)
    checkDType('cacheQuantize', 'codes', codes, 'int8')
    checkShape('cacheQuantize', 'codes', codes, [batch, heads, capacity, headSize])
    const groupSize = groupSizeOf(tokens)
    checkShape('cacheQuantize', 'scale', scale, [batch, heads, capacity, scale.size(3)])
    const sizes = { batch, tokens: T, heads, headSize, capacity, groupSize }
    x.device.call('cacheQuantize', {
      ...{ x, codes, scale, ...sizes },
      ...placed('cacheQuantize', position, [batch, T]),
    })
  },
)

/**
 * `attention` with the causal mask over a cache in int8: a query at position p sees the keys p − residual + 1
 * … p in full, those before as code · scale. The codes of the call's own tokens are written, the ring is not
 * yet.
 * @param q [B, T, H, D] float32
 * @param k,v [B, T, KV, D] float32, of the call's own tokens
 * @returns [B, T, H, D] float32, without a gradient
 */
export const attentionInt8 = op(
  'attentionInt8(q, k, v, keys, values, options)',
  (
    q: Tensor,
    k: Tensor,
    v: Tensor,
    keys: Int8Tokens,
    values: Int8Tokens,
    options: AttentionOptions,
  ): Tensor => {
    const [B, T, , D] = q.shape
    const [KV, coded, residual] = [k.size(2), keys.codes.size(2), keys.recent.size(2)]
    for (const [name, x] of Object.entries({ q, k, v })) checkDType('attentionInt8', name, x, 'float32')
    checkShape('attentionInt8', 'k', k, [B, T, KV, D])
    checkShape('attentionInt8', 'v', v, k.shape)
    for (const { codes, recent } of [keys, values]) {
      checkShape('attentionInt8', 'codes', codes, [B, KV, coded, D])
      checkShape('attentionInt8', 'recent', recent, [B, KV, residual, D])
    }
    if ([q, k, v].some(needsGrad))
      throw new ShapeError(
        'attentionInt8: queries, keys and values must need no gradient; received some that do',
      )
    const { position = 0, scale = 1 / Math.sqrt(D) } = options
    const places = placed('attentionInt8', position, [B, T], coded + residual)
    const { causal: _, ...seen } = masks(q, coded + residual, options)
    const y = Tensor.empty(q.device, q.shape)
    q.device.call('attentionInt8', {
      ...{ q, k, v, recentK: keys.recent, recentV: values.recent },
      ...{ keyCodes: keys.codes, keyScale: keys.scale, valueCodes: values.codes, valueScale: values.scale },
      ...{ y, ...queries('attentionInt8', q, KV), ...seen, ...places, scale },
      ...{ capacity: coded, residual, groupSize: groupSizeOf(keys) },
    })
    return y
  },
)
