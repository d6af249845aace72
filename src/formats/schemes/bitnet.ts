import { isFloatDType } from '../../core/dtype.ts'
import { qint2 } from '../../core/qtypes.ts'
import { numel, type Shape } from '../../core/shape.ts'
import { splitRows, unpackCodes } from '../../qtensor/packing.ts'
import { matrixShape } from '../../qtensor/parts.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { ternaryKind, ternaryParts } from '../../qtensor/ternary.ts'
import { cast, div } from '../../tensor/ops/index.ts'
import { keep, scope } from '../../tensor/scope.ts'
import type { JsonObject } from '../json.ts'
import type { TensorFile } from '../tensorFile.ts'
import { bitnetWriter } from './bitnetWriter.ts'
import { checkScales } from './checkScales.ts'
import { leftOut } from './leftOut.ts'
import type { QuantizedFile, QuantizedWeight, Scheme } from './scheme.ts'

/**
 * BitNet's ternary weights, as transformers keeps them: t is −1, 0 or 1, and what a layer takes is rounded to
 * int8, a scale for each token.
 *
 *     X.weight        [⌈out / 4⌉, in] uint8   codes t + 1 of rows r, r + R, r + 2R and r + 3R, the first lowest, R = ⌈out / 4⌉
 *     X.weight_scale  [1] float
 *
 *     bitlinear                 w = t / weight_scale
 *     autobitlinear, offline    w = t · weight_scale
 *     autobitlinear, online     X.weight is a float [out, in], and t = clamp(rne(w / m), −1, 1), w = t · m, m = mean |w|
 *
 * Source: transformers 5, integrations/bitnet.py; Ma et al., "The Era of 1-bit LLMs", 2024.
 */
export const bitnet: Scheme = {
  name: 'bitnet',
  detect: (config, file) => (config?.get('quant_method') === 'bitnet' ? openBitnet(config, file) : null),
  writer: bitnetWriter,
}

function openBitnet(config: JsonObject, file: TensorFile): QuantizedFile {
  const linear = oneOf(config, 'linear_class', 'bitlinear', 'autobitlinear')
  const isOnline = oneOf(config, 'quantization_mode', 'offline', 'online') === 'online'
  if (isOnline && linear === 'bitlinear')
    throw config.error('quantization_mode', 'must be "offline" for bitlinear')
  if (config.get('use_rms_norm') === true)
    throw config.error('use_rms_norm', 'must be false: lowbit has no norms within quantized layers')
  const isLeftOut = config.has('modules_to_not_convert')
    ? leftOut(config, 'modules_to_not_convert')
    : (path: string) => path === 'lm_head'
  return {
    layer(path, shape, typeName) {
      if (shape.length !== 2) return null
      const isPacked = file.tensors.get(`${path}.weight`)?.dtype === 'uint8'
      const isRounded = isOnline && typeName === 'Linear' && !isLeftOut(path)
      if (!isPacked && !isRounded) return null
      const weight = isPacked ? packedWeight(file, path, shape, linear) : floatWeight(file, path, shape)
      return { weight, activations: null, computeDtype: 'int8AbsmaxPerToken' }
    },
  }
}

function oneOf(config: JsonObject, key: string, usual: string, other: string): string {
  const value = config.string(key, usual)
  if (value !== usual && value !== other) throw config.error(key, `must be "${usual}" or "${other}"`)
  return value
}

/** What all weights share: ternary codes, one scale. */
function facts(shape: Shape) {
  const { type, block } = ternaryKind(shape)
  return { facts: { qtype: type, shape, block, offset: 'zeroPoint' }, kind: 'ternary, one scale' } as const
}

function packedWeight(file: TensorFile, path: string, shape: Shape, linear: string): QuantizedWeight {
  const [out, columns] = matrixShape(shape)
  const packing = splitRows(numel(shape), columns, qint2.bits)
  const stored = file.tensors.get(`${path}.weight_scale`)?.dtype ?? 'float32'
  const dtype = isFloatDType(stored) ? stored : 'float32'
  return {
    ...facts(shape),
    dtype,
    parts: [
      { name: 'weight', dtypes: ['uint8'], shape: [Math.ceil(out / 4), columns] },
      { name: 'weight_scale', dtypes: [dtype], shape: [1] },
    ],
    async read(parts) {
      const packed = await parts.codes('weight')
      const stored = await parts.tensor('weight_scale')
      const scale = scope(() => {
        const floats = cast(stored, 'float32')
        return keep(linear === 'bitlinear' ? div(1, floats) : floats)
      })
      try {
        await checkScales(parts, 'weight_scale', scale)
        return scope(() => {
          const codes = packed && unpackCodes(packed, packing).view([out, columns])
          const values = scale.view([1, 1])
          return keep(QTensor.fromParts({ ...ternaryKind(shape), dtype, codes, scale: { values } }))
        })
      } finally {
        scale.dispose()
      }
    },
  }
}

/** A weight that the library rounds in every pass. */
function floatWeight(file: TensorFile, path: string, shape: Shape): QuantizedWeight {
  const stored = file.tensors.get(`${path}.weight`)?.dtype ?? 'float32'
  const dtype = isFloatDType(stored) ? stored : 'float32'
  return {
    ...facts(shape),
    dtype,
    parts: [{ name: 'weight', dtypes: [dtype], shape }],
    async read(parts) {
      const stored = await parts.tensor('weight')
      return scope(() => keep(QTensor.fromParts(ternaryParts(stored))))
    },
  }
}
