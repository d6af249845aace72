import { DTypeError } from '../core/errors.ts'
import { type Kind, oneOf } from '../core/kinds.ts'
import type { DynamicActivation } from './dynamic.ts'

/**
 * The precision of matrix products with quantized weights: `float32` multiplies what the codes stand for, the
 * exact path; `int8` rounds each row of x to int8, with a scale per group, and multiplies integers, the fast
 * path; `bfloat16` rounds x and what the codes stand for to bfloat16, where there are more than four rows,
 * and adds up in float32: twice as fast as float32 for every kind of weight where the processor has such
 * products (AVX-512 BF16), as slow elsewhere. The others are torchao's, of its recipes: `int8PerToken` has
 * one scale for a whole row of x, and multiplies integers where a row of the weight has one, too;
 * `int8AsymmetricPerToken` (with a zero point) and `float8PerToken` round x, and multiply floats.
 * `int8AbsmaxPerToken` is BitNet's: `int8PerToken`, but that the row's largest magnitude is code 127.
 * `int8Outliers` is bitsandbytes' LLM.int8: as `int8PerToken`, but that columns of x with a value from a
 * threshold on are multiplied as floats; for int8 weights with a scale a row.
 */
export type ComputeDType = 'float32' | 'bfloat16' | 'int8' | 'int8Outliers' | DynamicActivation

/** So many rows of x are multiplied as fast in float32 as in bfloat16: weights are read, and read once. */
export const fewRows = 4

/** The magnitude from which values of x are outliers, as bitsandbytes has it. */
export const defaultOutlierThreshold = 6

const computeDtypes: readonly ComputeDType[] = [
  'float32',
  'bfloat16',
  'int8',
  'int8PerToken',
  'int8AbsmaxPerToken',
  'int8AsymmetricPerToken',
  'float8PerToken',
  'int8Outliers',
]

/** The name of a precision of products. */
export const aComputeDType: Kind = { ...oneOf(...computeDtypes), error: DTypeError }
