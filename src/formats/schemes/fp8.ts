import type { FloatDType } from '../../core/dtype.ts'
import { FormatError } from '../../core/errors.ts'
import { type QType, qfloat8_e4m3fn } from '../../core/qtype.ts'
import { numel, type Shape } from '../../core/shape.ts'
import type { ComputeDType } from '../../qtensor/computeDtype.ts'
import { type Block, blocksShape, matrixShape, showBlock } from '../../qtensor/parts.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { cast } from '../../tensor/ops/index.ts'
import { scope } from '../../tensor/scope.ts'
import type { JsonObject } from '../json.ts'
import type { TensorFile, TensorInfo } from '../tensorFile.ts'
import { fp8Writer } from './fp8Writer.ts'
import { leftOut } from './leftOut.ts'
import type { QuantizedLayer, QuantizedWeight, Scheme } from './scheme.ts'

/**
 * float8 weights as transformers has them: fine-grained (`fp8`, DeepSeek's), with a scale for each tile, and
 * FBGEMM's (`fbgemm_fp8`), with one for each row. w = scale · q.
 *
 *     weight            [out, in] float8_e4m3fn
 *     weight_scale_inv  [tiles of rows, tiles of columns] floats or exponents of a byte; of one tile [] or [1]
 *     weight_scale      [out, 1] floats, FBGEMM's
 *
 * Despite its name weight_scale_inv multiplies. The last tiles may be cut off.
 * Source: transformers 5, integrations/finegrained_fp8.py and fbgemm_fp8.py.
 */
export const fp8: Scheme = {
  name: 'fp8',
  detect(config, file) {
    const method = config?.get('quant_method')
    if (!config || (method !== 'fp8' && method !== 'fbgemm_fp8')) return null
    const settings = method === 'fp8' ? fineGrained(config) : fbgemm(config)
    return {
      warnings: settings.warnings,
      isUnused: (name) => /\.(activation_scale|input_scale_ub)$/.test(name),
      layer: (path, shape, typeName) => storedLayer(settings, file, path, shape, typeName),
    }
  },
  trace: (file) => [...file.tensors.keys()].find((name) => name.endsWith('.weight_scale_inv')),
  writer: fp8Writer,
}

interface Settings {
  readonly scaleName: 'weight_scale_inv' | 'weight_scale'
  /** Whether scales are stored as exponents of a byte. */
  readonly exponents: boolean
  /** The tiles of weights; null where a weight has one scale, `rows` where each row has. */
  readonly tile: readonly number[] | 'rows' | null
  readonly computeDtype: ComputeDType | null
  readonly warnings: readonly string[]
  /** Whether a layer stays float. */
  isLeftOut(path: string): boolean
  /** Whether a layer that is not Linear is quantized, too. */
  isTakenIn(path: string): boolean
}

function fineGrained(config: JsonObject): Settings {
  const scheme = config.string('activation_scheme', 'dynamic').toLowerCase()
  if (scheme !== 'dynamic' && scheme !== 'static')
    throw config.error('activation_scheme', 'must be "dynamic" or "static"')
  const format = config.string('scale_fmt', 'float')
  if (format !== 'float' && format !== 'ue8m0') throw config.error('scale_fmt', 'must be "float" or "ue8m0"')
  const experts = config.string('expert_dtype', 'fp8')
  if (experts !== 'fp8') throw config.error('expert_dtype', 'must be "fp8"')
  return {
    scaleName: 'weight_scale_inv',
    exponents: format === 'ue8m0',
    tile: tileOf(config),
    computeDtype: null,
    warnings: [
      `${config.where}.activation_scheme "${scheme}" is passed over: inputs stay floats, and only weights are quantized`,
    ],
    isLeftOut: leftOut(
      config,
      config.has('modules_to_not_convert') ? 'modules_to_not_convert' : 'ignored_layers',
    ),
    isTakenIn: leftOut(config, 'modules_to_convert'),
  }
}

/** Rows and columns; null where the settings have none on purpose. */
function tileOf(config: JsonObject): number[] | null {
  const sizes = config.has('weight_block_size') ? config.counts('weight_block_size') : null
  if (!sizes) return config.keys().includes('weight_block_size') ? null : [128, 128]
  if (sizes.length !== 2 || sizes.some((size) => size < 1 || size > 2 ** 20))
    throw config.error('weight_block_size', 'must be two whole numbers from 1 up, rows and columns')
  return sizes
}

function fbgemm(config: JsonObject): Settings {
  const bound = config.number('activation_scale_ub', 1200)
  return {
    scaleName: 'weight_scale',
    exponents: false,
    tile: 'rows',
    computeDtype: 'float8PerToken',
    warnings: [
      `${config.where}.activation_scale_ub is passed over: inputs above ${bound} are not cut off when they are rounded`,
    ],
    isLeftOut: leftOut(config, 'modules_to_not_convert'),
    isTakenIn: () => false,
  }
}

function storedLayer(
  settings: Settings,
  file: TensorFile,
  path: string,
  shape: Shape,
  typeName: string,
): QuantizedLayer | null {
  const taken = typeName === 'Linear' || settings.isTakenIn(path)
  const scale = file.tensors.get(`${path}.${settings.scaleName}`)
  const quantized = scale ?? (file.tensors.get(`${path}.weight`)?.dtype === 'float8_e4m3fn' || undefined)
  if (quantized === undefined || shape.length !== 2) return null
  if (scale && (!taken || settings.isLeftOut(path)))
    throw new FormatError(
      `${file.name}: ${scale.name} must be of a layer that is quantized; the settings leave ${path} out`,
      { tensor: scale.name },
    )
  const weight = storedWeight(settings, scale, shape)
  return { weight, activations: null, computeDtype: settings.computeDtype }
}

/** The dtypes of scales: DeepSeek's are float32, Qwen's bfloat16. */
const floatScales: readonly FloatDType[] = ['float32', 'bfloat16', 'float16']

/** @param found the scale in the file */
function storedWeight(settings: Settings, found: TensorInfo | undefined, shape: Shape): QuantizedWeight {
  const { scaleName, exponents, tile } = settings
  const stored = found?.shape ?? []
  // transformers multiplies in float32.
  const dtype = exponents ? 'bfloat16' : 'float32'
  const [rows, columns] = matrixShape(shape)
  const block: Block =
    tile === 'rows'
      ? { kind: 'group', size: columns }
      : { kind: 'tile', rows: tile?.[0] ?? rows, columns: tile?.[1] ?? columns }
  const blocks = blocksShape(block, shape)
  const type: QType = qfloat8_e4m3fn
  return {
    facts: { qtype: type, shape, block, offset: null },
    dtype,
    kind: `${type.name}, ${tile ? showBlock(block, shape) : 'one scale'}`,
    parts: [
      { name: 'weight', dtypes: [type.dtype], shape },
      {
        name: scaleName,
        dtypes: exponents ? ['float8_e8m0fnu', 'uint8'] : floatScales,
        shape: !tile && numel(stored) === 1 ? stored : blocks,
      },
    ],
    async read(parts) {
      const codes = await parts.codes('weight')
      const scales = await parts.tensor(scaleName, exponents ? 'float8_e8m0fnu' : undefined)
      return scope(() => {
        const values = exponents ? scales : cast(scales, 'float32')
        const scale = { values: values.view(blocks) }
        return QTensor.fromParts({ type, shape, dtype, codes, block, scale }).keep()
      })
    },
  }
}
