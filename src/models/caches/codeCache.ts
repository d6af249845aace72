import {
  attentionCached,
  type CodeFormat,
  cacheQuantize,
  codesFor,
} from '../../tensor/ops/attentionCached.ts'
import { cacheWrite, cast, type Position, slice } from '../../tensor/ops/index.ts'
import { placeBehind } from '../../tensor/ops/position.ts'
import type { Tensor } from '../../tensor/tensor.ts'
import type { CacheKind, HeldLayer, HeldTensor, LayerShape } from './cacheKind.ts'

type AttendOptions = Parameters<CacheKind['attend']>[4]

/** Tokens that share the scales of their keys, value by value. */
const groupTokens = 64

/**
 * Old tokens as codes, the last `residual` ones in full, as float16.
 *
 * Each token is quantized once, from its own values: a scale, of 4 bits also a shift, for each 64 values of a
 * head. Of 4 bits keys have them for each value over 64 tokens instead: some values of keys are large in all
 * tokens, and would set the steps of the others. The query at position p sees the tokens p − residual + 1 … p
 * in full and those before as codes. So what a token sees depends on its position alone, not on how the text
 * was cut into calls, which generation does by the clock. Layers whose window is not longer than that hold it
 * in full, and no codes; those of a longer window codes of no more tokens than that and a call's.
 *
 * transformers' QuantizedCache has the same group size and the same number of tokens in full at most; it lets
 * them grow to 128 and then quantizes all at once, those quantized before once more, and shows a call's own
 * tokens in full.
 * Source: Liu et al., "KIVI: A Tuning-Free Asymmetric 2bit Quantization for KV Cache", 2024.
 */
export function codeCache(bits: CodeFormat['bits']): CacheKind<'codes' | 'scale' | 'recent', 'shift'> {
  const formatOf = ({ residual }: LayerShape): CodeFormat => ({
    bits,
    groupTokens: bits === 4 && residual >= groupTokens ? groupTokens : 0,
  })
  return {
    layer(shape) {
      const { capacity, residual, window = Infinity } = shape
      if (window <= residual) return windowLayer(shape, 'float16', formatOf(shape))
      const full = Math.min(residual, capacity)
      return cachedLayer(shape, 'float16', full, codedTokens(shape), formatOf(shape))
    },
    attend: (layer, q, k, v, options, shape) => attendCached(layer, [q, k, v], options, formatOf(shape)),
    longestCall(shape) {
      const { capacity, residual, window = Infinity } = shape
      const coded = codedTokens(shape)
      return window <= residual || coded === capacity ? Infinity : coded - window
    },
  }
}

/** Tokens that a call may add where a window leaves room for no more than it. */
const callTokens = 128

/** Of how many tokens a layer holds codes: whole groups of a window and a call, or all. */
function codedTokens({ capacity, window = Infinity }: LayerShape): number {
  return Math.min(Math.ceil((window + callTokens) / groupTokens) * groupTokens, capacity)
}

/** A layer that holds its window in full, and no codes. */
export function windowLayer(
  shape: LayerShape,
  dtype: HeldTensor['dtype'],
  format: CodeFormat,
): HeldLayer<'codes' | 'scale' | 'recent', 'shift', HeldTensor> {
  const { capacity, window = capacity } = shape
  return cachedLayer(shape, dtype, Math.min(window, capacity), 0, format)
}

/** A layer with `full` tokens of a dtype, and codes of `coded` ones. */
function cachedLayer(
  { batch, keyValueHeads, headSize }: LayerShape,
  dtype: HeldTensor['dtype'],
  full: number,
  coded: number,
  format: CodeFormat,
): HeldLayer<'codes' | 'scale' | 'recent', 'shift', HeldTensor> {
  const recent = { shape: [batch, keyValueHeads, full, headSize], dtype, ring: true }
  const kept = (rowTokens: number) => {
    const held = codesFor(batch, keyValueHeads, coded, headSize, { ...format, groupTokens: rowTokens })
    const { codes, scale, shift } = held
    const shared = { rowTokens: Math.max(rowTokens, 1) }
    return { codes, scale: { ...scale, ...shared }, ...(shift && { shift: { ...shift, ...shared } }), recent }
  }
  return { keys: kept(format.groupTokens), values: kept(0) }
}

type CodeLayer = HeldLayer<'codes' | 'scale' | 'recent', 'shift', Tensor>

/**
 * Writes the call's own tokens as codes, attends, and puts them in the places of the oldest in full. Tokens
 * before those that ask are put there first, as if a call before had added them.
 */
export function attendCached(
  layer: CodeLayer,
  [q, k, v]: readonly [Tensor, Tensor, Tensor],
  options: AttendOptions,
  format: CodeFormat,
): Tensor {
  const { keys, values } = layer
  const own = [k, v].map((x) => cast(x, keys.recent.dtype))
  const before = k.size(1) - q.size(1)
  const position = placeBehind(options.position, before)
  if (before > 0) {
    const first = own.map((x) => slice(x, 1, 0, before))
    writeCodes(layer, first, options.position, format)
    writeRecent(layer, first, options.position)
  }
  const [ownK, ownV] = before > 0 ? own.map((x) => slice(x, 1, before, k.size(1))) : own
  writeCodes(layer, [ownK, ownV], position, format)
  const y = attentionCached(q, ownK, ownV, keys, values, format, { ...options, position })
  // After the queries have seen the tokens whose places these take.
  writeRecent(layer, [ownK, ownV], position)
  return y
}

function writeCodes(
  { keys, values }: CodeLayer,
  [k, v]: readonly Tensor[],
  position: Position,
  format: CodeFormat,
): void {
  cacheQuantize(k, keys, position, format)
  cacheQuantize(v, values, position, { ...format, groupTokens: 0 })
}

function writeRecent({ keys, values }: CodeLayer, [k, v]: readonly Tensor[], position: Position): void {
  cacheWrite(k, keys.recent, position, { ring: true })
  cacheWrite(v, values.recent, position, { ring: true })
}
