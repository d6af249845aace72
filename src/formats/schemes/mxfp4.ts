import { e2m1 } from '../../core/qtype.ts'
import type { Shape } from '../../core/shape.ts'
import { lowFirst, unpackCodes } from '../../qtensor/packing.ts'
import { matrixShape } from '../../qtensor/parts.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { scope } from '../../tensor/scope.ts'
import type { QuantizedWeight, Scheme } from './scheme.ts'

/**
 * MXFP4 as gpt-oss has it: 4-bit floats, two a byte, the first in the low bits; groups of 32 of them share a
 * power of two. Only the weights of its experts are quantized. Files hold those of all experts of a layer in
 * one tensor, of which each expert's are taken by the model's names.
 *
 *     experts.gate_up_proj_blocks  [experts, out, in / 32, 16] uint8
 *     experts.gate_up_proj_scales  [experts, out, in / 32] exponents of a byte
 *
 * Source: transformers 5, integrations/mxfp4.py, `_convert_moe_packed_tensors`.
 */
export const mxfp4: Scheme = {
  name: 'mxfp4',
  detect(config, file) {
    if (config?.get('quant_method') !== 'mxfp4') return null
    return {
      layer: (path, shape) =>
        file.tensors.has(`${path}.blocks`)
          ? { weight: mxfp4Weight(shape), activations: null, computeDtype: null }
          : null,
    }
  },
  trace: (file) => [...file.tensors.keys()].find((name) => /experts\.\d+\.\w+\.blocks$/.test(name)),
}

/** Columns that share a scale. */
const groupSize = 32

/** The weight of one expert, [out, in]. */
function mxfp4Weight(shape: Shape): QuantizedWeight {
  const [out, columns] = matrixShape(shape)
  const groups = Math.ceil(columns / groupSize)
  const block = { kind: 'group', size: groupSize } as const
  return {
    facts: { qtype: e2m1, shape, block, offset: null },
    dtype: 'bfloat16',
    kind: `mxfp4, groups of ${groupSize}`,
    parts: [
      { name: 'blocks', dtypes: ['uint8'], shape: [out, groups, groupSize / 2] },
      { name: 'scales', dtypes: ['uint8', 'float8_e8m0fnu'], shape: [out, groups] },
    ],
    async read(parts) {
      const packed = await parts.codes('blocks')
      const exponents = await parts.tensor('scales', 'float8_e8m0fnu')
      return scope(() => {
        const codes = packed && unpackCodes(packed, lowFirst(out, columns)).view([out, columns])
        const scale = { values: exponents.view([out, groups]) }
        return QTensor.fromParts({ type: e2m1, shape, dtype: 'bfloat16', codes, block, scale }).keep()
      })
    },
  }
}
