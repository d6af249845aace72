import { FormatError } from '../../core/errors.ts'
import { qint4 } from '../../core/qtype.ts'
import type { Shape } from '../../core/shape.ts'
import { matrixShape } from '../../qtensor/parts.ts'
import type { JsonObject } from '../json.ts'
import type { StoredDType, TensorFile } from '../tensorFile.ts'
import { fastWeight, gemmWeight, gemvWeight } from './awqLayouts.ts'
import { type AwqSettings, readAwqSettings } from './awqSettings.ts'
import { awqWriter } from './awqWriter.ts'
import type { QuantizedFile, QuantizedWeight, Scheme } from './scheme.ts'

/**
 * AWQ, as AutoAWQ, llm-awq and GPTQModel write it: codes of 4 bits and integer zero points in groups of g
 * inputs, w = scales · (q − z). A word has eight of them.
 *
 *     gemm        qweight  [in, out / 8] int32    word c of input i: outputs 8c … 8c + 7, in the order
 *                                                 0 2 4 6 1 3 5 7 from the lowest bits on
 *                 qzeros   [in / g, out / 8] int32     the same of the zero points of a group
 *                 scales   [in / g, out] float16
 *     gemv        qweight  [out, in / 8] int32    word c of output o: inputs 8c … 8c + 7, in order
 *                 qzeros   [out, Z] int32         the same of the zero points of the groups of an output
 *                 scales   [out, 8 Z] float16     0 behind the last group; see `zeroWords` for Z
 *     gemv_fast   qweight  [out / 4, in] int16    four outputs and 64 inputs side by side, see `interleaved`
 *                 qzeros   [8 Z, out] float16     −scales · z, rounded: shifts in place of zero points
 *                 scales   [8 Z, out] float16
 *     llm-awq     as gemv_fast, with `scaled_zeros` for qzeros; its older files are as gemv
 *
 * Source: Lin et al., "AWQ", 2023; AutoAWQ 0.2.9, modules/linear; llm-awq, awq/quantize/qmodule.py.
 */
export const awq = awqScheme('awq', 'gemm')

/** The same in the layout of gemv. */
export const awqGemv = awqScheme('awq_gemv', 'gemv')

/** @param version what it writes; `awq` reads the others, too */
function awqScheme(name: string, version: 'gemm' | 'gemv'): Scheme {
  return {
    name,
    floatDtype: 'float16',
    settingsFiles: ['quant_config.json', 'quantize_config.json'],
    detect(config, file) {
      if (!config || !isAwq(config)) return null
      const settings = readAwqSettings(config)
      return (settings.version === 'gemv') === (version === 'gemv') ? openAwq(settings, file) : null
    },
    writer: awqWriter(version),
  }
}

/** AutoAWQ's own file does not name its method. */
function isAwq(config: JsonObject): boolean {
  return config.has('quant_method') ? config.get('quant_method') === 'awq' : config.has('w_bit')
}

function openAwq(settings: AwqSettings, file: TensorFile): QuantizedFile {
  return {
    layer(path, shape) {
      const words = file.tensors.get(`${path}.qweight`)
      if (shape.length !== 2 || !words) return null
      if (settings.isFloat(path))
        throw new FormatError(
          `${file.name}: ${words.name} must be a float, as modules_to_not_convert says; it is quantized`,
          { tensor: words.name },
        )
      const has = (part: string) => file.tensors.has(`${path}.${part}`)
      return { weight: storedWeight(settings, shape, words.dtype, has), activations: null }
    },
  }
}

/** @param words the dtype of the words, by which llm-awq's older files are told from its new ones */
function storedWeight(
  { version, groupSize, symmetric }: AwqSettings,
  shape: Shape,
  words: StoredDType,
  has: (part: string) => boolean,
): QuantizedWeight {
  const [, columns] = matrixShape(shape)
  const stored = { type: qint4, shape, size: Math.min(groupSize ?? columns, columns), symmetric }
  if (version === 'gemv_fast') return fastWeight(stored, 'qzeros')
  if (version === 'llm-awq' && words !== 'int32') return fastWeight(stored, 'scaled_zeros')
  // Symmetric weights may come without zero points.
  const zeros = !symmetric || has('qzeros')
  return version === 'gemm' ? gemmWeight(stored, zeros) : gemvWeight(stored, zeros)
}
