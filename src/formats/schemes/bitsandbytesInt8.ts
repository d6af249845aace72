import { qint8 } from '../../core/qtype.ts'
import type { Shape } from '../../core/shape.ts'
import { matrixShape, type PlainScale } from '../../qtensor/parts.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { keep, scope } from '../../tensor/scope.ts'
import { Tensor } from '../../tensor/tensor.ts'
import type { JsonObject } from '../json.ts'
import type { TensorFile } from '../tensorFile.ts'
import type { Part, PartReader, PartToWrite, QuantizedLayer, QuantizedWeight, WeightKind } from './scheme.ts'
import { weightPart } from './writing.ts'

/**
 * bitsandbytes' weights of 8 bits, those of LLM.int8: codes around 0, and for each row its largest magnitude
 * as float16 has it; GPT-2's layers are turned to [out, in], too.
 *
 *     w[o, i] = weight[o, i] · SCB[o] / 127
 *
 *     X.weight           [out, in] int8
 *     X.SCB              [out] float32
 *     X.weight_format    uint8, 0: rows. Other orders of codes, of older versions, are refused; absent is 0
 *
 * Products round x to int8, a scale a row, but for columns with values from a threshold on.
 * Source: Dettmers et al., "LLM.int8()", 2022; bitsandbytes 0.50, nn/modules.py, `Linear8bitLt`.
 */
export function int8Layer(
  file: TensorFile,
  path: string,
  shape: Shape,
  threshold: number,
): QuantizedLayer | null {
  const isCoded = file.tensors.get(`${path}.weight`)?.dtype === 'int8'
  if (!isCoded && !file.tensors.has(`${path}.SCB`)) return null
  return {
    weight: storedWeight(shape, file.tensors.has(`${path}.weight_format`)),
    activations: null,
    computeDtype: 'int8Outliers',
    outlierThreshold: threshold,
  }
}

/** What is divided by: the largest code. */
export const int8Divisor = 127

/** The magnitude from which values are outliers; 0: none are. */
export function readThreshold(config: JsonObject): number {
  const threshold = config.number('llm_int8_threshold', 6)
  if (threshold >= 0) return threshold
  throw config.error('llm_int8_threshold', `must be a number from 0 up; it is ${threshold}`)
}

function storedWeight(shape: Shape, hasFormat: boolean): QuantizedWeight {
  const [out, columns] = matrixShape(shape)
  const format: Part = { name: 'weight_format', dtypes: ['uint8'], shape: [] }
  return {
    facts: { qtype: qint8, shape, block: { kind: 'group', size: columns }, offset: null },
    dtype: 'float32',
    kind: 'qint8, one scale a row',
    parts: [
      { name: 'weight', dtypes: ['int8'], shape },
      { name: 'SCB', dtypes: ['float32'], shape: [out] },
      ...(hasFormat ? [format] : []),
    ],
    read: (parts) => readWeight(parts, shape, hasFormat),
  }
}

async function readWeight(parts: PartReader, shape: Shape, hasFormat: boolean): Promise<QTensor> {
  const [format] = hasFormat ? await parts.bytes('weight_format') : [0]
  if (format !== 0) throw parts.error('weight_format', `must be 0, codes in rows; it is ${format}`)
  const codes = await parts.codes('weight')
  const most = await parts.tensor('SCB')
  const [out, columns] = matrixShape(shape)
  return scope(() =>
    keep(
      QTensor.fromParts({
        type: qint8,
        shape,
        dtype: 'float32',
        codes: codes?.view([out, columns]) ?? null,
        block: { kind: 'group', size: columns },
        scale: { values: most.view([out, 1]), divisor: int8Divisor },
      }),
    ),
  )
}

/** The tensors of a weight, as transformers saves them. */
export function int8Parts({ shape }: WeightKind): PartToWrite[] {
  const [out] = matrixShape(shape)
  return [
    weightPart('SCB', 'float32', [out], mostOf),
    weightPart('weight', 'int8', shape, (weight) => weight.codes()),
    weightPart('weight_format', 'uint8', [], ({ device }) => Tensor.fromArray(device, Uint8Array.of(0), [])),
  ]
}

/** The largest magnitudes of rows, which are the scales. */
function mostOf(weight: QTensor): Tensor {
  const { scale } = weight.parts()
  return (scale as PlainScale).values.view([weight.shape[0]])
}
