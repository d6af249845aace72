import type { FloatDType } from '../core/dtype.ts'
import { sameShape } from '../core/shape.ts'
import { JsonObject, pythonJson } from '../formats/json.ts'
import type { LayerToWrite, QuantizedFile, Scheme } from '../formats/schemes/scheme.ts'
import type { WritingScheme } from '../formats/schemes/targets.ts'
import { refusalOf } from '../formats/schemes/weightKind.ts'
import type { TensorFile } from '../formats/tensorFile.ts'
import { joinPath, type Module } from '../nn/module.ts'
import { QWeightModule } from '../nn/qmodule.ts'
import { detectFile } from './detect.ts'
import { emptyKind, emptyWeight } from './emptyWeight.ts'
import { defaultScheme, folderSchemes, holdsTypes } from './save.ts'
import { layersToWrite, type ModelLayers } from './savedTensors.ts'

/** What is known of a state dictionary: its tensors, with texts beside them, and how its layers are read. */
interface DetectedState {
  readonly file: TensorFile
  readonly quantized: QuantizedFile | null
}

/**
 * How the quantized layers of a state dictionary are read: in the scheme whose tensors of the model's own
 * layers it holds, with the settings that the scheme would write of these; else as its tensors tell.
 */
export async function detectState(model: Module, file: TensorFile): Promise<DetectedState> {
  const layers = await expectedLayers(model)
  const scheme = folderSchemes().find((each) => isWritten(each, layers, file)) ?? defaultScheme()
  if (layers.quantized.size === 0 || !holdsTypes(scheme, layers))
    return { file, quantized: (await detectFile(file)).quantized }
  const { files, quantizationConfig, texts } = scheme.writer.settings(layers.quantized, layers.floats)
  const own = ownText(scheme, files)
  const text = own ?? (quantizationConfig && pythonJson(quantizationConfig, 0))
  const settings = text === undefined ? null : new JsonObject(JSON.parse(text), file.name)
  const whole = texts ? { ...file, texts: new Map(Object.entries(texts)) } : file
  const quantized = await scheme.detect(settings, whole, own !== undefined)
  return quantized ? { file: whole, quantized } : { file, quantized: (await detectFile(file)).quantized }
}

/** What the scheme has in a file of its own. */
function ownText({ settingsFiles = [] }: Scheme, files?: ReadonlyMap<string, string>): string | undefined {
  return settingsFiles.map((file) => files?.get(file)).find((written) => written !== undefined)
}

/** The layers of a model, those that are not frozen as they will be. */
async function expectedLayers(model: Module): Promise<ModelLayers> {
  const layers = await layersToWrite(model)
  const quantized = [...layers.quantized].map(([path, layer]): [string, LayerToWrite] => {
    const module = model.getModule(path)
    if (!(module instanceof QWeightModule) || module.frozen) return [path, layer]
    const place = emptyWeight(module, layer.dtype as FloatDType)
    return [path, { ...layer, weight: emptyKind(module, place) }]
  })
  return { ...layers, quantized: new Map(quantized) }
}

/** Whether a file holds all parts of a layer in a scheme. */
function isWritten({ writer }: WritingScheme, { quantized }: ModelLayers, file: TensorFile): boolean {
  return [...quantized].some(([path, layer]) => {
    if (!layer.weight || !writer.types.includes(layer.weight.qtype)) return false
    if (refusalOf(writer, layer.weight) !== null) return false
    const parts = writer.parts(layer)
    return (
      parts.length > 0 &&
      parts.every(({ name, dtype, shape }) => {
        const found = file.tensors.get(joinPath(path, name))
        return found?.dtype === dtype && sameShape(found.shape, shape)
      })
    )
  })
}
