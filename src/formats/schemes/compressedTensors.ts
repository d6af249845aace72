import { isFloatDType } from '../../core/dtype.ts'
import { FormatError } from '../../core/errors.ts'
import type { Shape } from '../../core/shape.ts'
import type { TensorFile } from '../tensorFile.ts'
import { byteWeight, float4Weight } from './compressedTensorsBytes.ts'
import { layerTypes } from './compressedTensorsLayouts.ts'
import { placeOf } from './compressedTensorsPlace.ts'
import { type Group, readSettings, type Settings } from './compressedTensorsSettings.ts'
import { packedWeight } from './compressedTensorsWords.ts'
import { compressedTensorsWriter } from './compressedTensorsWriter.ts'
import type { QuantizedLayer, QuantizedWeight, Scheme } from './scheme.ts'

/**
 * compressed-tensors, as llm-compressor writes it and vLLM reads it: groups of layers, named by path, pattern
 * or class, each with a format of its own.
 *
 *     pack-quantized                                     integers of 1 to 8 bits in words of 32
 *     int-quantized, float-quantized, naive-quantized    int8 or float8, a byte each
 *     nvfp4-pack-quantized                               4-bit floats, float8 scales, one more scale for all
 *     mxfp4-pack-quantized, mxfp8-quantized              4- and 8-bit floats, scales that are powers of two
 *
 * Source: compressed-tensors 0.20, compressors/.
 */
export const compressedTensors: Scheme = {
  name: 'compressed-tensors',
  detect(config, file) {
    if (config?.get('quant_method') !== 'compressed-tensors') return null
    const settings = readSettings(config)
    return {
      warnings: settings.warnings,
      isUnused: (name) => /\.([qkv]|input|output)_(scale|zero_point|global_scale)$/.test(name),
      layer: (path, shape, typeName) => storedLayer(settings, file, path, shape, typeName),
    }
  },
  trace: (file) => [...file.tensors.keys()].find((name) => name.endsWith('.weight_packed')),
  writer: compressedTensorsWriter,
}

function storedLayer(
  settings: Settings,
  file: TensorFile,
  path: string,
  shape: Shape,
  typeName: string,
): QuantizedLayer | null {
  if (!layerTypes.includes(typeName)) return null
  const group = settings.groupOf(path, typeName)
  const wrong = (tensor: string, problem: string) =>
    new FormatError(`${file.name}: ${tensor} ${problem}`, { tensor })
  const scale = file.tensors.get(`${path}.weight_scale`)
  if (!group && scale)
    throw wrong(
      scale.name,
      'must be of a layer that config_groups targets, and ignore does not; it is of none',
    )
  if (!group) return null
  const plain = file.tensors.get(`${path}.weight`)
  if (plain && isFloatDType(plain.dtype))
    throw wrong(plain.name, `must be quantized, as ${group.name} says; it is ${plain.dtype}`)
  const weight = storedWeight(file, path, shape, group)
  // What is tied to another layer is stored there.
  if (!weight.parts.some(({ name }) => file.tensors.has(`${path}.${name}`))) return null
  const { computeDtype, activations } =
    typeName === 'Linear' ? group : { computeDtype: null, activations: null }
  return { weight, activations, outputQuantized: false, computeDtype }
}

/** A weight in the format of its group. */
function storedWeight(file: TensorFile, path: string, shape: Shape, group: Group): QuantizedWeight {
  const place = placeOf(file, path, shape, group.weights)
  switch (group.format) {
    case 'pack-quantized':
      return packedWeight(place)
    case 'nvfp4-pack-quantized':
      return float4Weight(place, 'float8_e4m3fn')
    case 'mxfp4-pack-quantized':
      return float4Weight(place, 'float8_e8m0fnu')
    case 'mxfp8-quantized':
      return byteWeight(place, 'float8_e8m0fnu')
    default:
      return byteWeight(place, null)
  }
}
