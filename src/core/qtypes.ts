// Made from native/types.def by `node native/def.mjs`; edit that file instead.
import type { QType } from './qtype.ts'

/** The names of all quantized types. */
export type TypeName = 'qint2' | 'qint4' | 'qint8' | 'qfloat8_e4m3fn' | 'qfloat8_e5m2' | 'qfloat8_e4m3fnuz' | 'qint5' | 'qint1' | 'qint3' | 'qint6' | 'qint7' | 'quint8' | 'nf4' | 'fp4' | 'e2m1' | 'iq4_nl'

/** Four levels a weight: codes 0 … 3, with a scale and a shift for each group. */
export const qint2: QType = { name: 'qint2', code: 0, bits: 2, values: 'unsigned', dtype: 'uint8', qmin: 0, qmax: 3, unsigned: true }
/** 16 levels a weight: codes 0 … 15, with a scale and a shift for each group. */
export const qint4: QType = { name: 'qint4', code: 1, bits: 4, values: 'unsigned', dtype: 'uint8', qmin: 0, qmax: 15, unsigned: true }
/** 8-bit integers around 0, with a scale for each row. */
export const qint8: QType = { name: 'qint8', code: 2, bits: 8, values: 'signed', dtype: 'int8', qmin: -128, qmax: 127, unsigned: false }
/** 8-bit floats with 4 bits of exponent and 3 of mantissa, up to 448, without infinities. */
export const qfloat8_e4m3fn: QType = { name: 'qfloat8_e4m3fn', code: 3, bits: 8, values: 'float', dtype: 'float8_e4m3fn', qmin: -448, qmax: 448, unsigned: false }
/** 8-bit floats with 5 bits of exponent and 2 of mantissa, up to 57344: more range, fewer digits. */
export const qfloat8_e5m2: QType = { name: 'qfloat8_e5m2', code: 4, bits: 8, values: 'float', dtype: 'float8_e5m2', qmin: -57344, qmax: 57344, unsigned: false }
/** 8-bit floats with 4 bits of exponent and 3 of mantissa, up to 240, with one zero and no infinities. */
export const qfloat8_e4m3fnuz: QType = { name: 'qfloat8_e4m3fnuz', code: 5, bits: 8, values: 'float', dtype: 'float8_e4m3fnuz', qmin: -240, qmax: 240, unsigned: false }
/** 32 levels a weight, as in GGUF's Q5_0 and Q5_1. */
export const qint5: QType = { name: 'qint5', code: 6, bits: 5, values: 'unsigned', dtype: 'uint8', qmin: 0, qmax: 31, unsigned: true }
/** Two levels a weight. */
export const qint1: QType = { name: 'qint1', code: 7, bits: 1, values: 'unsigned', dtype: 'uint8', qmin: 0, qmax: 1, unsigned: true }
/** Eight levels a weight. */
export const qint3: QType = { name: 'qint3', code: 8, bits: 3, values: 'unsigned', dtype: 'uint8', qmin: 0, qmax: 7, unsigned: true }
/** 64 levels a weight. */
export const qint6: QType = { name: 'qint6', code: 9, bits: 6, values: 'unsigned', dtype: 'uint8', qmin: 0, qmax: 63, unsigned: true }
/** 128 levels a weight. */
export const qint7: QType = { name: 'qint7', code: 10, bits: 7, values: 'unsigned', dtype: 'uint8', qmin: 0, qmax: 127, unsigned: true }
/** 256 levels a weight, moved by a zero point or a shift; qint8 has its codes around 0. */
export const quint8: QType = { name: 'quint8', code: 11, bits: 8, values: 'unsigned', dtype: 'uint8', qmin: 0, qmax: 255, unsigned: true }
/** bitsandbytes' normal floats: the quantiles of a normal distribution. */
export const nf4: QType = { name: 'nf4', code: 12, bits: 4, values: 'codebook', dtype: 'uint8', qmin: -1, qmax: 1, unsigned: false, codebook: [-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1] }
/** bitsandbytes' 4-bit floats. */
export const fp4: QType = { name: 'fp4', code: 13, bits: 4, values: 'codebook', dtype: 'uint8', qmin: -1, qmax: 1, unsigned: false, codebook: [0, 0.0052083334885537624, 0.6666666865348816, 1, 0.3333333432674408, 0.5, 0.1666666716337204, 0.25, 0, -0.0052083334885537624, -0.6666666865348816, -1, -0.3333333432674408, -0.5, -0.1666666716337204, -0.25] }
/** 4-bit floats of the OCP's microscaling formats: 2 bits of exponent, 1 of mantissa. */
export const e2m1: QType = { name: 'e2m1', code: 14, bits: 4, values: 'codebook', dtype: 'uint8', qmin: -6, qmax: 6, unsigned: false, codebook: [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6] }
/** The levels of GGUF's IQ4_NL and IQ4_XS. */
export const iq4_nl: QType = { name: 'iq4_nl', code: 15, bits: 4, values: 'codebook', dtype: 'uint8', qmin: -127, qmax: 113, unsigned: false, codebook: [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113] }

/** All quantized types, at the index that is their code. */
export const qtypesByCode: readonly QType[] = [qint2, qint4, qint8, qfloat8_e4m3fn, qfloat8_e5m2, qfloat8_e4m3fnuz, qint5, qint1, qint3, qint6, qint7, quint8, nf4, fp4, e2m1, iq4_nl]
