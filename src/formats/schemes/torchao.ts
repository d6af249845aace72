import { FormatError } from '../../core/errors.ts'
import { JsonObject, parseJson, show } from '../json.ts'
import type { TensorFile } from '../tensorFile.ts'
import type { QuantizedFile, Scheme } from './scheme.ts'
import { subclasses } from './torchaoTensors.ts'
import { torchaoWriter } from './torchaoWriter.ts'

/**
 * torchao's quantized weights, as its safetensors support and transformers flatten them: each weight is a
 * subclass of tensors, whose class and attributes stand as JSON in the file's texts under the weight's name,
 * and whose tensors beside it:
 *
 *     X.weight           {"_type": "Int8Tensor", "_data": {attributes}, "_tensor_data_names": ["qdata", …]}
 *     X._weight_qdata    and X._weight_scale, …: see torchaoTensors.ts
 *
 * Source: torchao 0.18, prototype/safetensors/safetensors_support.py; transformers 5,
 * integrations/torchao.py.
 */
export const torchao: Scheme = {
  name: 'torchao',
  detect: (config, file) => (config?.get('quant_method') === 'torchao' ? openTorchao(file) : null),
  writer: torchaoWriter,
  trace: codesOf,
}

/** The name of a tensor of codes. */
function codesOf(file: TensorFile): string | undefined {
  return [...file.tensors.keys()].find((name) => name.endsWith('._weight_qdata'))
}

function openTorchao(file: TensorFile): QuantizedFile {
  const warnings = new Set<string>()
  return {
    get warnings() {
      return [...warnings]
    },
    layer(path, shape) {
      const info = file.tensors.get(`${path}._weight_qdata`)
      if (!info) return null
      const name = info.name.replace(/_weight_qdata$/, 'weight')
      const attributes = attributesOf(file, name)
      const type = attributes.string('_type')
      if (!Object.hasOwn(subclasses, type))
        throw attributes.error('_type', `must be ${Object.keys(subclasses).join(', ')}, which lowbit reads`)
      const stored = (part: string) => file.tensors.get(`${path}.${part}`)
      const layer = subclasses[type](attributes.object('_data'), { shape, stored })
      if (layer.warning) warnings.add(layer.warning)
      return { weight: layer.weight, activations: null, computeDtype: layer.computeDtype ?? null }
    },
  }
}

/** What the file says of a weight. */
function attributesOf(file: TensorFile, name: string): JsonObject {
  const text = file.texts?.get(name)
  if (text === undefined)
    throw new FormatError(
      `${file.name}: ${name} must be described in __metadata__, as torchao's tensors are; it is not`,
      { tensor: name },
    )
  const where = `${file.name}: __metadata__ of ${show(name)}`
  return new JsonObject(parseJson(new TextEncoder().encode(text), where), where)
}
