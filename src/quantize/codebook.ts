import { dtypes } from '../core/dtype.ts'
import { DTypeError, ShapeError } from '../core/errors.ts'
import { check } from '../core/kinds.ts'
import { aQType, fp4, nf4, type QType } from '../core/qtype.ts'
import { type NestedScale, showBlock, type WeightParts } from '../qtensor/parts.ts'
import type { Quantizer } from '../qtensor/quantizer.ts'
import { checkDType, Tensor } from '../tensor/tensor.ts'
import { dynamicMap } from './dynamicMap.ts'

/** Whether groups of a type are runs of the flattened weight, which may cross rows. */
export function hasRuns(type: QType): boolean {
  return type === nf4 || type === fp4
}

/** How many scales share one, where they are quantized once more. */
const nestedBlockSize = 256

/** The block sizes that bitsandbytes takes. */
export const codebookBlockSizes: readonly number[] = [32, 64, 128, 256, 512, 1024, 2048, 4096]

/**
 * bitsandbytes' NF4 and FP4: blocks of the flattened weight, each with its largest magnitude as a float32
 * scale, and for every weight the nearest value of the type. Group sizes are those of the blocks, which may
 * cross rows.
 */
export const codebook: Quantizer = {
  name: 'codebook',
  solve: (weight, { type, block }) => {
    if (block.kind === 'tile' || block.kind === 'comb')
      throw new ShapeError(
        `codebook: blocks must be runs of the flattened weight; received ${showBlock(block, weight.shape)}`,
      )
    return solve(weight, type, block.size)
  },
}

/**
 * `codebook` with scales quantized once more, to 8 bits in blocks of 256: bitsandbytes' double
 * quantization.
 */
export const doubleQuant: Quantizer = {
  name: 'doubleQuant',
  solve: (weight, spec) => {
    const parts = codebook.solve(weight, spec)
    const { values: scale } = parts.scale as { values: Tensor }
    return { ...parts, scale: nest(scale) }
  },
}

function solve(weight: Tensor, type: QType, blockSize: number): WeightParts {
  checkDType('codebook', 'weight', weight, 'float32', 'float16', 'bfloat16')
  check('codebook', 'type', type, aQType)
  if (!hasRuns(type)) throw new DTypeError(`codebook: the type must be nf4 or fp4; received ${type.name}`)
  const { device, shape, dtype, numel } = weight
  const codes = Tensor.empty(device, shape, 'uint8')
  const scale = Tensor.empty(device, [Math.ceil(numel / blockSize)])
  device.call('quantizeCodebook', {
    x: weight,
    dtype: dtypes[dtype].code,
    codebook: Tensor.fromNumbers(device, type.codebook ?? []),
    codes,
    scale,
    count: numel,
    blockSize,
  })
  const block = { kind: 'run', size: blockSize } as const
  return { type, shape, dtype: dtype as WeightParts['dtype'], codes, block, scale: { values: scale } }
}

function nest(scale: Tensor): NestedScale {
  const { device, numel } = scale
  const nested = {
    codes: Tensor.empty(device, [numel], 'uint8'),
    codebook: Tensor.fromArray(device, dynamicMap()),
    blockSize: nestedBlockSize,
    values: Tensor.empty(device, [Math.ceil(numel / nestedBlockSize)]),
    offset: Tensor.empty(device, []),
  }
  device.call('nestScale', { scale, ...nested, count: numel })
  return nested
}
