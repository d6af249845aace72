import { e2m1, type QType, qfloat8_e4m3fn, qint8 } from '../../core/qtype.ts'
import { lowFirst, unpackCodes } from '../../qtensor/packing.ts'
import { blocksShape, matrixShape } from '../../qtensor/parts.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { scope } from '../../tensor/scope.ts'
import type { Tensor } from '../../tensor/tensor.ts'
import { floatScales, kindOf, type StoredPlace } from './compressedTensorsPlace.ts'
import type { QuantizedWeight } from './scheme.ts'

/**
 * A byte a code: int8 or float8.
 *
 *     weight             [out, in] int8 or float8_e4m3fn
 *     weight_scale       [1], [out, 1], [out, groups] or [tiles of rows, tiles of columns]; of mxfp8 uint8 exponents
 *     weight_zero_point  as the scale, int8, of weights that are not symmetric
 *
 * @param exponents the dtype of scales that are stored as bytes; null where they are floats
 */
export function byteWeight(place: StoredPlace, exponents: 'float8_e8m0fnu' | null): QuantizedWeight {
  const { args, shape, block } = place
  const type: QType = args.type === 'int' ? qint8 : qfloat8_e4m3fn
  const dtype = exponents ? 'bfloat16' : place.dtype
  const scale = place.scale(exponents ? ['uint8', exponents] : floatScales)
  const zero = args.symmetric ? [] : [{ ...scale, name: 'weight_zero_point', dtypes: ['int8'] as const }]
  return {
    facts: { qtype: type, shape, block, offset: args.symmetric ? null : 'zeroPoint' },
    dtype,
    kind: kindOf(place, exponents ? 'mxfp8' : type.name),
    parts: [place.part('weight', [type.dtype], shape), scale, ...zero],
    async read(parts) {
      const codes = await parts.codes('weight')
      const scales = await parts.tensor('weight_scale', exponents ?? undefined)
      const zeros = args.symmetric ? null : await parts.tensor('weight_zero_point')
      return scope(() => {
        const values = (tensor: Tensor) => tensor.view(blocksShape(block, shape))
        const offset = zeros && ({ kind: 'zeroPoint', values: values(zeros) } as const)
        const scale = { values: values(scales) }
        return QTensor.fromParts({ type, shape, dtype, codes, block, scale, offset }).keep()
      })
    },
  }
}

/**
 * Floats of 4 bits, two a byte, the first in the low bits.
 *
 *     weight_packed        [out, in / 2] uint8
 *     weight_scale         [out, in / group] float8_e4m3fn (nvfp4), or uint8 exponents (mxfp4)
 *     weight_global_scale  [1] float32, which scales are divided by (nvfp4)
 */
export function float4Weight(
  place: StoredPlace,
  scaleDtype: 'float8_e4m3fn' | 'float8_e8m0fnu',
): QuantizedWeight {
  const { shape, block } = place
  const [out, columns] = matrixShape(shape)
  const isNested = scaleDtype === 'float8_e4m3fn'
  return {
    facts: { qtype: e2m1, shape, block, offset: null },
    dtype: 'bfloat16',
    kind: kindOf(place, isNested ? 'nvfp4' : 'mxfp4'),
    parts: [
      place.part('weight_packed', ['uint8'], [out, Math.ceil(columns / 2)]),
      place.scale(isNested ? [scaleDtype] : ['uint8', scaleDtype]),
      ...(isNested ? [place.part('weight_global_scale', ['float32'], [1], [])] : []),
    ],
    async read(parts) {
      const packed = await parts.codes('weight_packed')
      const scales = await parts.tensor('weight_scale', scaleDtype)
      const global = isNested ? await parts.tensor('weight_global_scale') : null
      if (global && (await global.item()) === 0) throw parts.error('weight_global_scale', 'must not be 0')
      return scope(() => {
        const codes = packed && unpackCodes(packed, lowFirst(out, columns)).view([out, columns])
        const nested = global && { values: global.view([1]), divides: true, blockSize: scales.numel }
        const scale = nested ? { codes: scales, ...nested } : { values: scales }
        return QTensor.fromParts({ type: e2m1, shape, dtype: 'bfloat16', codes, block, scale }).keep()
      })
    },
  }
}
