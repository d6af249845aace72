import { e2m1 } from '../../core/qtype.ts'
import { numel, type Shape } from '../../core/shape.ts'
import { lowFirst, unpackCodes } from '../../qtensor/packing.ts'
import { matrixShape } from '../../qtensor/parts.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { scope } from '../../tensor/scope.ts'
import type { QuantizedWeight, Scheme } from './scheme.ts'

/**
 * MXFP4 as gpt-oss has it: the weights of its experts alone are quantized, and its layers are floats. What
 * reads the experts of a block is `mxfp4Experts`.
 */
export const mxfp4: Scheme = {
  name: 'mxfp4',
  detect: (config) => (config?.get('quant_method') === 'mxfp4' ? { layer: () => null } : null),
  trace: (file) => [...file.tensors.keys()].find((name) => /experts\.\w+_blocks$/.test(name)),
}

/** Columns that share a scale. */
const groupSize = 32

/**
 * The weight of a projection of all experts, in 4-bit floats, two a byte, the first in the low bits; groups
 * of 32 of them share a power of two.
 *
 *     gate_up_proj_blocks  [experts, out, in / 32, 16] uint8
 *     gate_up_proj_scales  [experts, out, in / 32] exponents of a byte
 *
 * Source: transformers 5, integrations/mxfp4.py, `_convert_moe_packed_tensors`.
 * @param name of the projection: `gate_up_proj`
 * @param shape of the weight: [experts, out, in]
 */
export function mxfp4Experts(name: string, shape: Shape): QuantizedWeight {
  const [experts, out, columns] = shape
  const groups = Math.ceil(columns / groupSize)
  const block = { kind: 'group', size: groupSize } as const
  const [blocks, scales] = [`${name}_blocks`, `${name}_scales`]
  return {
    facts: { qtype: e2m1, shape, block, offset: null },
    dtype: 'bfloat16',
    kind: `mxfp4, groups of ${groupSize}`,
    parts: [
      { name: blocks, dtypes: ['uint8'], shape: [experts, out, groups, groupSize / 2] },
      { name: scales, dtypes: ['uint8', 'float8_e8m0fnu'], shape: [experts, out, groups] },
    ],
    async read(parts) {
      const packed = await parts.tensor(blocks)
      const exponents = await parts.tensor(scales, 'float8_e8m0fnu')
      return scope(() => {
        const [rows, length] = matrixShape(shape)
        const codes = unpackCodes(packed, lowFirst(experts * out, columns)).view([rows, length])
        const scale = { values: exponents.view([rows, numel(exponents.shape) / rows]) }
        return QTensor.fromParts({ type: e2m1, shape, dtype: 'bfloat16', codes, block, scale }).keep()
      })
    },
  }
}
