import type { DType, FloatDType } from '../../core/dtype.ts'
import type { QType } from '../../core/qtype.ts'
import { matrixShape, showBlock } from '../../qtensor/parts.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { decodeRows } from '../../qtensor/rows.ts'
import { cast, reduce, sub } from '../../tensor/ops/index.ts'
import { keep, scope } from '../../tensor/scope.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { findBeyond } from '../finite.ts'
import type { SchemeWriter, WeightKind } from './scheme.ts'

/*
 * What writers ask of a weight that is there. Its values are looked at on the device.
 */

/** What decides which tensors hold a weight. */
export async function weightKind(weight: QTensor): Promise<WeightKind> {
  const { facts, dtype, heldScale, order } = weight
  const plain = 'tensor' in heldScale
  const offset = plain ? null : heldScale.offset
  const nested = plain
    ? null
    : {
        blockSize: heldScale.blockSize,
        offset: Number((await offset?.read())?.[0] ?? 0),
        codes: heldScale.codesDtype,
        divides: heldScale.divides,
        codebook: heldScale.codebook !== null,
        values: heldScale.valuesDtype,
      }
  return {
    ...facts,
    dtype,
    reordered: order !== null,
    scaleDtype: plain ? heldScale.dtype : null,
    divisor: 'divisor' in heldScale ? heldScale.divisor : null,
    zeroPoint: await commonZeroPoint(weight),
    nested,
  }
}

/** Why a writer cannot hold a weight as it is, the end of a sentence; null where it can. */
export function refusalOf(writer: SchemeWriter, weight: WeightKind): string | null {
  const { divisor, dtype } = weight
  if (divisor === null || divisor === writer.divisor) {
    const refused = writer.refuses(weight)
    const rounds = dtype === 'float32' || (writer.roundsAlike?.(weight) ?? true)
    return refused ?? (rounds ? null : `its ${dtype} weights are rounded otherwise than the format's`)
  }
  return `its scaled codes are divided by ${divisor}, and the format has no such numbers`
}

/** The zero point that all blocks have; null where they differ, or there are none. */
async function commonZeroPoint(weight: QTensor): Promise<number | null> {
  const { heldOffset } = weight
  if (heldOffset && 'value' in heldOffset) return heldOffset.value
  const values = weight.zeroPoint()
  return values && commonCode(values, weight.qtype).finally(() => values.dispose())
}

/** The code that all of these are; null where they differ. */
export async function commonCode(codes: Tensor, type: QType): Promise<number | null> {
  const ends = scope(() => {
    const one = Tensor.full(codes.device, [], 1)
    const line = decodeRows(codes.view([codes.numel]), { scale: one }, type)
    return [keep(reduce('min', line)), keep(reduce('max', line))]
  })
  const [[least], [largest]] = await Promise.all(ends.map((end) => end.toNumbers()))
  for (const end of ends) end.dispose()
  return least === largest ? least : null
}

/** `qint4, groups of 32, zero points, scales quantized` */
export function showKind({ qtype, block, shape, offset, reordered, nested }: WeightKind): string {
  const whole = block.kind === 'group' && block.size === matrixShape(shape)[1]
  return [
    qtype.name,
    ...(whole ? [] : [showBlock(block, shape)]),
    ...(offset === 'zeroPoint' ? ['zero points'] : []),
    ...(reordered ? ['columns reordered'] : []),
    ...(nested ? ['scales quantized'] : []),
  ].join(', ')
}

/** A weight without values of that kind: the place of one still to be made. */
export function placeOfKind({ qtype: type, block, scaleDtype, shape, dtype, offset }: WeightKind): QTensor {
  // Scales that are quantized once more have no memory here, either.
  const scales = scaleDtype === null ? {} : { scaleDtype }
  return QTensor.meta({ type, block, ...scales }, shape, dtype, offset)
}

/** Whether floats are the same numbers in another dtype. */
export async function keepsValues(floats: Tensor, dtype: DType): Promise<boolean> {
  if (floats.dtype === dtype) return true
  const difference = scope(() => {
    const [there, here] = [cast(cast(floats, dtype as FloatDType), 'float32'), cast(floats, 'float32')]
    return keep(sub(there, here))
  })
  // Every bit of a difference but its sign is 0 where there is none.
  const found = await findBeyond(difference, 1).finally(() => difference.dispose())
  return found === null
}
