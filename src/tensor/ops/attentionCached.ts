import { type DType, dtypes } from '../../core/dtype.ts'
import { ShapeError } from '../../core/errors.ts'
import type { Shape } from '../../core/shape.ts'
import { op } from '../op.ts'
import { needsGrad } from '../tape.ts'
import { checkDType, checkShape, Tensor } from '../tensor.ts'
import { type AttentionOptions, masks, queries } from './attention.ts'
import { type Position, placed } from './position.ts'

/** How old tokens of a cache are kept. */
export interface CodeFormat {
  /** Codes of 8 bits are signed and lie around 0, those of 4 bits count up from a shift. */
  bits: 8 | 4
  /**
   * Keys have a scale for each value and so many tokens, at most 64; 0: one for each token and 64 values, as
   * values have.
   */
  groupTokens: number
}

/** Keys, or values, of a cache whose old tokens are codes; H heads of D values. */
export interface CachedTokens {
  /** [B, H, capacity, bytes] uint8: token j in row j mod capacity, which may be 0. */
  codes: Tensor
  /** [B, H, capacity, ⌈D / 64⌉] float16; or [B, H, ⌈capacity / groupTokens⌉, D] */
  scale: Tensor
  /** As scale; codes of 4 bits have one. */
  shift?: Tensor
  /** [B, H, residual, D] of any float dtype that `attention` takes: a ring of the last tokens in full. */
  recent: Tensor
}

/** Shape and dtype of a tensor. */
interface Described {
  shape: Shape
  dtype: DType
}

/** What `cacheQuantize` writes for `capacity` tokens: see `CachedTokens`. */
export function codesFor(
  batch: number,
  heads: number,
  capacity: number,
  headSize: number,
  { bits, groupTokens }: CodeFormat,
): { codes: Described; scale: Described; shift?: Described } {
  const bytes = bits === 8 ? headSize : Math.floor(headSize / 64) * 32 + Math.ceil((headSize % 64) / 2)
  const groups =
    groupTokens > 0 ? [Math.ceil(capacity / groupTokens), headSize] : [capacity, Math.ceil(headSize / 64)]
  const scale = { shape: [batch, heads, ...groups], dtype: 'float16' } as const
  const codes = { shape: [batch, heads, capacity, bytes], dtype: 'uint8' } as const
  return { codes, scale, ...(bits === 4 && { shift: scale }) }
}

/** @throws ShapeError or DTypeError unless codes, scales and shifts are those of [B, H, …, D] in this format */
function checkCodes(
  operation: string,
  tokens: CachedTokens,
  [batch, heads, headSize]: readonly [number, number, number],
  format: CodeFormat,
): void {
  const must = codesFor(batch, heads, tokens.codes.size(2), headSize, format)
  for (const [name, { shape, dtype }] of Object.entries(must)) {
    const tensor = tokens[name as keyof typeof must] as Tensor
    checkDType(operation, name, tensor, dtype)
    checkShape(operation, name, tensor, shape)
  }
}

/**
 * Writes x [B, T, H, D] as codes to `position` and after: those of the tokens, or of the groups of keys that
 * they complete. The last tokens take the rows of those before.
 * @param x of the dtype of the tokens in full, which may be in the ring already up to `position`
 */
export const cacheQuantize = op(
  'cacheQuantize(x, tokens, position, format)',
  (x: Tensor, tokens: CachedTokens, position: Position, format: CodeFormat): void => {
    const { codes, scale, shift = null, recent } = tokens
    const [batch, T, heads, headSize] = x.shape
    const [capacity, residual] = [codes.size(2), recent.size(2)]
    checkDType('cacheQuantize', 'x', x, recent.dtype)
    checkCodes('cacheQuantize', tokens, [batch, heads, headSize], format)
    if (residual < Math.min(format.groupTokens, capacity))
      throw new ShapeError(
        `cacheQuantize: groups of ${format.groupTokens} tokens need as many in full; received ${residual}`,
      )
    if (capacity === 0) return
    x.device.call('cacheQuantize', {
      ...{
        x,
        recent,
        dtype: dtypes[x.dtype].code,
        codes,
        scale,
        shift,
        scaleDtype: dtypes[scale.dtype].code,
      },
      ...{ batch, tokens: T, heads, headSize, capacity, residual, ...format },
      ...placed('cacheQuantize', position, [batch, T]),
    })
  },
)

/**
 * `attention` with the causal mask over a cache whose old tokens are codes: a query at position p sees the
 * keys p − residual + 1 … p in full, those before as codes. The codes of the call's own tokens are written, the
 * ring is not yet. Codes of fewer tokens than the text has do with a window: of so many as it and the call's
 * own tokens together, or of none where it sees all in full.
 * @param q [B, T, H, D] float32
 * @param k,v [B, T, KV, D] of the dtype of the tokens in full, of the call's own tokens
 * @returns [B, T, H, D] float32, without a gradient
 */
export const attentionCached = op(
  'attentionCached(q, k, v, keys, values, format, options)',
  (
    q: Tensor,
    k: Tensor,
    v: Tensor,
    keys: CachedTokens,
    values: CachedTokens,
    format: CodeFormat,
    options: AttentionOptions,
  ): Tensor => {
    const [B, T, , D] = q.shape
    const [KV, capacity, residual] = [k.size(2), keys.codes.size(2), keys.recent.size(2)]
    checkDType('attentionCached', 'q', q, 'float32')
    checkShape('attentionCached', 'k', k, [B, T, KV, D])
    checkShape('attentionCached', 'v', v, k.shape)
    checkCodes('attentionCached', keys, [B, KV, D], format)
    checkCodes('attentionCached', values, [B, KV, D], { ...format, groupTokens: 0 })
    for (const [name, tensor] of Object.entries({
      k,
      v,
      'keys.recent': keys.recent,
      'values.recent': values.recent,
    }))
      checkDType('attentionCached', name, tensor, keys.recent.dtype)
    for (const { recent } of [keys, values])
      checkShape('attentionCached', 'recent', recent, [B, KV, residual, D])
    if ([q, k, v].some(needsGrad))
      throw new ShapeError(
        'attentionCached: queries, keys and values must need no gradient; received some that do',
      )
    const { position = 0, scale = 1 / Math.sqrt(D), window = Infinity } = options
    const enough = capacity === 0 ? window <= residual : window + T <= capacity + 1
    const limit = enough ? Infinity : capacity || residual
    const places = placed('attentionCached', position, [B, T], limit)
    const { causal: _, ...seen } = masks(q, Number.isFinite(limit) ? limit : 0, options)
    const y = Tensor.empty(q.device, q.shape)
    q.device.call('attentionCached', {
      ...{ q, k, v, recentK: keys.recent, recentV: values.recent, dtype: dtypes[keys.recent.dtype].code },
      ...{ keyCodes: keys.codes, keyScale: keys.scale, keyShift: keys.shift },
      ...{ valueCodes: values.codes, valueScale: values.scale, valueShift: values.shift },
      ...{
        scaleDtype: dtypes[keys.scale.dtype].code,
        y,
        ...queries('attentionCached', q, KV),
        ...seen,
        ...places,
      },
      ...{ scale, capacity, residual, ...format },
    })
    return y
  },
)
