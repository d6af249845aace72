import { type QType, quint8 } from '../../core/qtype.ts'
import type { Shape } from '../../core/shape.ts'
import { codesIn } from '../../qtensor/heldCodes.ts'
import { addToCodes } from '../../qtensor/packing.ts'
import { matrixShape, type PartsToHold } from '../../qtensor/parts.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { ownedIn, scope } from '../../tensor/scope.ts'
import type { Tensor } from '../../tensor/tensor.ts'
import type { JsonObject } from '../json.ts'
import type { PartReader, QuantizedWeight } from './scheme.ts'
import { commonCode } from './weightKind.ts'

/*
 * Integer codes in groups of columns, with integer zero points: w = scale · (q − z), codes and zero points
 * from 0 up. What GPTQ's and AWQ's files hold, each packed its own way.
 */

/** What settings say of a layer. */
export interface LayerSettings {
  readonly bits: number
  /** Columns that share a scale; null: the row. */
  readonly groupSize: number | null
  /** Whether every zero point is the middle of the codes. */
  readonly symmetric: boolean
}

/** A weight that is stored so. */
export interface StoredGroups {
  readonly type: QType
  readonly shape: Shape
  /** Columns of a group. */
  readonly size: number
  readonly symmetric: boolean
}

/** Columns that share a scale; null where −1 stands for the row. @throws FormatError */
export function readGroupSize(config: JsonObject, key: string, fallback: number): number | null {
  const size = config.number(key, fallback)
  if (size === -1) return null
  if (Number.isInteger(size) && size > 0 && size <= 2 ** 20) return size
  throw config.error(key, 'must be -1 or a whole number from 1 up')
}

/** What such a weight is, beside the parts that hold it. */
export function describeGroups({
  type,
  shape,
  size,
}: StoredGroups): Pick<QuantizedWeight, 'facts' | 'dtype' | 'kind'> {
  const [, columns] = matrixShape(shape)
  const zeroPoints = type.unsigned ? [', zero points'] : []
  const groups = size === columns ? [] : [`, groups of ${size}`]
  return {
    facts: {
      qtype: type,
      shape,
      block: { kind: 'group', size },
      offset: type.unsigned ? 'zeroPoint' : null,
    },
    dtype: 'float32',
    kind: [type.name, ...zeroPoints, ...groups].join(''),
  }
}

/** What was unpacked of a weight. */
export interface UnpackedGroups {
  /** [N, K] uint8, in the order of the groups, or packed so; null where they are not read. */
  readonly codes: PartsToHold['codes']
  /** [N, groups] uint8; null: the middle of the codes. */
  readonly zeroPoint: Tensor | null
  /** [N, groups] */
  readonly scale: Tensor
  /** [K] int32, see `WeightParts` */
  readonly order?: Tensor | null
}

/**
 * Makes a weight. Of zero points that are all alike one is held; those of a symmetric weight of a signed type
 * have to be the middle of the codes, which then is 0.
 * @param part that the zero points stand in
 * @throws FormatError if they are not
 */
export async function makeGroups(
  parts: PartReader,
  stored: StoredGroups,
  part: string,
  unpack: () => UnpackedGroups,
): Promise<QTensor> {
  const { type, shape, size, symmetric } = stored
  const { codes, zeroPoint, scale, order } = scope(unpack)
  const middle = 2 ** (type.bits - 1)
  try {
    const common = zeroPoint && symmetric ? await commonCode(zeroPoint, quint8) : null
    const value = zeroPoint ? common : middle
    if (!type.unsigned && value !== middle)
      throw parts.error(part, `must be ${middle} everywhere, since the settings say that they are symmetric`)
    return scope(() =>
      QTensor.fromParts(
        {
          type,
          shape,
          dtype: 'float32',
          codes: type.unsigned || !codes ? codes : addToCodes(codesIn(codes, shape), type.bits, middle),
          block: { kind: 'group', size },
          scale: { values: scale },
          offset: !type.unsigned
            ? null
            : value === null
              ? { kind: 'zeroPoint', values: zeroPoint as Tensor }
              : { kind: 'zeroPoint', value },
          order,
        },
        parts.form,
      ).keep(),
    )
  } finally {
    for (const tensor of ownedIn([codes, zeroPoint, scale, order])) tensor.dispose()
  }
}
