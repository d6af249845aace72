import type { DType } from '../../core/dtype.ts'
import type { QType } from '../../core/qtype.ts'
import { e2m1, qfloat8_e4m3fn } from '../../core/qtypes.ts'

/* The modes of MLX, see mlx.ts. */

/** The bits of affine codes. */
export const affineBits: readonly number[] = [1, 2, 3, 4, 5, 6, 8]

/** The other modes: the type of their codes, the columns of a group, and what the bytes of scales are. */
export const floatModes: Readonly<Record<string, { type: QType; groupSize: number; scales: DType }>> = {
  mxfp4: { type: e2m1, groupSize: 32, scales: 'float8_e8m0fnu' },
  mxfp8: { type: qfloat8_e4m3fn, groupSize: 32, scales: 'float8_e8m0fnu' },
  nvfp4: { type: e2m1, groupSize: 16, scales: 'float8_e4m3fn' },
}

/** Columns of an affine group. */
export const affineGroups: readonly number[] = [32, 64, 128]
