import { type DType, dtypes } from '../../core/dtype.ts'
import { ShapeError } from '../../core/errors.ts'
import { aBoolean, aNumber, atLeast, oneOf, wholeNumber } from '../../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../../core/options.ts'
import { showShape } from '../../core/shape.ts'
import { currentValue } from '../../devices/commandList.ts'
import { op } from '../op.ts'
import { scope } from '../scope.ts'
import { needsGrad } from '../tape.ts'
import { aTensor, checkDType, checkShape, checkTensor, Tensor } from '../tensor.ts'
import { aPosition, type Position, placed } from './position.ts'
import { transpose } from './shape.ts'

/** What each query sees, and what its scores are. */
export interface AttentionOptions {
  /**
   * causal (default): the query at position p sees the keys up to p; full: every key.
   */
  mask?: 'causal' | 'full'
  /** Where the first query of each sequence stands; default 0. */
  position?: Position
  /** Keys that a causal query sees at most, its own the last of them; default all. */
  window?: number
  /**
   * [B, 2] int32, first key of each sequence and end: sequences of a batch that are padded left or right. A
   * query that sees no key gives 0.
   */
  ranges?: Tensor
  /** Multiplies q · k; default 1/√D. */
  scale?: number
  /** A score s becomes softcap · tanh(s / softcap); default: it stays. */
  softcap?: number
  /**
   * Added to scores, −∞ to hide a key: float32, repeated to [B, H, T, capacity], [H, 1, capacity] for slopes
   * like ALiBi's. It may have more columns than there are keys. No gradient passes to it.
   */
  bias?: Tensor
  /**
   * [H] float32: one more score of each head, whose weight gives nothing. No gradient passes to them.
   * Source: OpenAI, "gpt-oss-120b & gpt-oss-20b Model Card", 2025, section 2.2.
   */
  sinks?: Tensor
}

const optionKinds: OptionKinds<AttentionOptions> = {
  mask: oneOf('causal', 'full'),
  position: aPosition,
  window: wholeNumber(1),
  ranges: aTensor,
  scale: aNumber,
  softcap: atLeast(0),
  bias: aTensor,
  sinks: aTensor,
}

/**
 * y = softmax(cap(scale · q · kᵀ) + bias) · v over the keys that each query sees; causal, query t at position
 * `position + t` sees keys 0 … position + t.
 * Source: Vaswani et al., "Attention Is All You Need", 2017, equation 1; grouped-query heads: Ainslie et al.,
 * "GQA", 2023.
 * @param q [B, T, H, D] float32
 * @param k,v [B, KV, capacity, D] float32, H a multiple of KV; float16 or e4m3fn, then without a gradient
 * @returns [B, T, H, D] float32
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Tensor {
  checkOptions('attention', options, optionKinds)
  for (const [name, tensor] of [
    ['a bias', options.bias],
    ['a sink', options.sinks],
  ] as const) {
    if (needsGrad(tensor ?? null))
      throw new ShapeError(`attention: ${name} must need no gradient; received one that does`)
  }
  return attended(q, k, v, options)
}

/** What keys and values may be kept as. */
const keyDTypes: DType[] = ['float32', 'float16', 'float8_e4m3fn']

const attended = op(
  'attention(q, k, v, options)',
  (q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor => {
    checkDType('attention', 'q', q, 'float32')
    checkDType('attention', 'k', k, ...keyDTypes)
    checkDType('attention', 'v', v, k.dtype)
    const [B, T, , D] = q.shape
    const [, KV, capacity] = k.shape
    checkShape('attention', 'k', k, [B, KV, capacity, D])
    checkShape('attention', 'v', v, k.shape)
    const call = callOf(q, k, options)
    const places = placed('attention', options.position ?? 0, [B, T], call.causal ? capacity : Infinity)
    const y = Tensor.empty(q.device, q.shape)
    q.device.call('attention', { q, k, v, dtype: dtypes[k.dtype].code, y, ...places, ...call })
    return y
  },
  ({ dy, y }, q, k, v, options) => {
    const { position = 0 } = options
    const first = position instanceof Tensor ? 'a tensor' : currentValue(position)
    if (first !== 0)
      throw new ShapeError(`attention: for a gradient queries must stand at position 0; received ${first}`)
    checkDType('attention', 'k', k, 'float32')
    const [dq, dk, dv] = [q, k, v].map((x) => Tensor.empty(x.device, x.shape))
    q.device.call('attentionGrad', { q, k, v, y, dy, dq, dk, dv, ...callOf(q, k, options) })
    return [dq, dk, dv]
  },
)

/** What both kernels take beside the tensors. */
function callOf(q: Tensor, k: Tensor, options: AttentionOptions) {
  const [, KV, capacity] = k.shape
  const { scale = 1 / Math.sqrt(q.size(-1)) } = options
  return { ...queries('attention', q, KV), ...masks(q, capacity, options), capacity, scale }
}

/** The sizes of q [B, T, H, D] as the kernels take them, checked against the number of key-value heads. */
export function queries(operation: string, q: Tensor, kvHeads: number) {
  const [batch, tokens, heads, headSize] = q.shape
  if (q.shape.length === 4 && heads % kvHeads === 0) return { batch, tokens, heads, kvHeads, headSize }
  throw new ShapeError(
    `${operation}: heads (${heads}) must be a multiple of key-value heads (${kvHeads}); q ${showShape(q.shape)}`,
  )
}

/** What queries q [B, T, H, D] see of `capacity` keys, as the kernels take it. */
export function masks(q: Tensor, capacity: number, options: AttentionOptions) {
  const { mask = 'causal', window = 0, softcap = 0, ranges = null, bias = null, sinks = null } = options
  const [B, T, H] = q.shape
  if (mask === 'full' && window > 0)
    throw new ShapeError(`attention: a window must have the mask causal; received full and ${window}`)
  if (ranges) {
    checkDType('attention', 'ranges', ranges, 'int32')
    checkShape('attention', 'ranges', ranges, [B, 2])
  }
  if (sinks) {
    checkDType('attention', 'sinks', sinks, 'float32')
    checkShape('attention', 'sinks', sinks, [H])
  }
  const strides = bias ? biasStrides(bias, [B, H, T], capacity) : [0, 0, 0]
  const [biasBatch, biasHead, biasToken] = strides
  const causal = mask === 'causal' ? 1 : 0
  return { causal, window, softcap, ranges, sinks, bias, biasBatch, biasHead, biasToken }
}

/** The strides of a bias by batch, head and token: 0 where it is repeated. */
function biasStrides(bias: Tensor, sizes: readonly number[], capacity: number): number[] {
  checkDType('attention', 'bias', bias, 'float32')
  const shape = [...Array(Math.max(4 - bias.shape.length, 0)).fill(1), ...bias.shape]
  const fits = sizes.every((size, i) => shape[i] === 1 || shape[i] === size)
  if (shape.length !== 4 || !fits || shape[3] < capacity) {
    throw new ShapeError(
      `attention: bias must repeat to ${showShape([...sizes, capacity])}; received ${showShape(bias.shape)}`,
    )
  }
  return sizes.map((_, i) => (shape[i] === 1 ? 0 : shape.slice(i + 1).reduce((a, b) => a * b, 1)))
}

/**
 * Copies x [B, T, H, D] into cache [B, H, capacity, D] at `position`, of the same float dtype or rounded from
 * float32 to it; into a ring at `position` modulo its capacity, which may be smaller than T. Where places are
 * a tensor, it is always a ring.
 */
export const cacheWrite = op(
  'cacheWrite(x, cache, position, options)',
  (x: Tensor, cache: Tensor, position: Position, options: { ring?: boolean } = {}): void => {
    checkOptions('cacheWrite', options, { ring: aBoolean })
    checkTensor('cacheWrite', 'cache', cache)
    checkDType('cacheWrite', 'x', x, 'float32', cache.dtype)
    const [B, T, H, D] = x.shape
    const capacity = cache.size(2)
    checkShape('cacheWrite', 'cache', cache, [B, H, capacity, D])
    const places = placed('cacheWrite', position, [B, T], options.ring ? Infinity : capacity)
    if (cache.numel === 0) return
    const sizes = { batch: B, tokens: T, heads: H, headSize: D, capacity }
    const codes = { xDtype: dtypes[x.dtype].code, dtype: dtypes[cache.dtype].code }
    x.device.call('cacheWrite', { x, cache, ...codes, ...sizes, ...places })
  },
)

/**
 * y = softmax(scale · q · kᵀ) · v in PyTorch's layout, every query seeing the keys up to its own.
 * @param q [B, H, T, D] float32
 * @param k,v [B, KV, T, D] float32, H a multiple of KV
 * @param scale 1/√D when left out
 * @returns [B, H, T, D] float32
 */
export function causalAttention(q: Tensor, k: Tensor, v: Tensor, scale?: number): Tensor {
  checkTensor('causalAttention', 'q', q)
  return scope(() => transpose(attention(transpose(q, 1, 2), k, v, { scale }), 1, 2))
}
